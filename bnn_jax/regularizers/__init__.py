"""Regularizers: pure functions from arrays to a scalar, one file per idea."""

from bnn_jax.regularizers.lipschitz import lipschitz_gaps, lipschitz_retention, released_weight
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
    "lipschitz_gaps",
    "lipschitz_retention",
    "power_iteration_norm",
    "released_weight",
    "retention_matrix",
    "retention_norm",
]
