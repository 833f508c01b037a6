"""Regularizers: pure functions from arrays to a scalar, one file per idea, which also holds its term of the loss."""

from bnn_jax.regularizers.lipschitz import lipschitz_retention, lipschitz_term, released_weight
from bnn_jax.regularizers.spectral import (
    adaptive_avg_pool,
    exact_norm,
    power_iteration_norm,
    retention_matrix,
    retention_norm,
)

__all__ = [
    "adaptive_avg_pool",
    "exact_norm",
    "lipschitz_retention",
    "lipschitz_term",
    "power_iteration_norm",
    "released_weight",
    "retention_matrix",
    "retention_norm",
]
