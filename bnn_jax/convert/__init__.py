"""Weights of other libraries' networks as files of weights: a module for each library, which is a command."""
