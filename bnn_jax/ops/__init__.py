"""Numerical kernels: pure functions of arrays, exact, with derivative rules that keep little and pass over it rarely.

Where a formulation helps the CPU alone it is chosen by `jax.lax.platform_dependent`: GPUs and TPUs get the
stock operation, out of the same program.
"""
