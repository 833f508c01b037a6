"""Weights of other libraries' networks as files of weights: each module is a command."""
