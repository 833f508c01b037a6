"""Regularizers: pure functions from arrays to a scalar, one file per idea, which also holds its term of the loss."""

from bnn_jax.regularizers.distillation import distillation_term, kl_divergence, soft_cross_entropy
from bnn_jax.regularizers.kurtosis import RELEASED_TARGETS, KurtosisTerm, kurtosis, kurtosis_term, weight_kurtosis
from bnn_jax.regularizers.lipschitz import lipschitz_retention, lipschitz_term, released_weight
from bnn_jax.regularizers.magnitude import ridge, unit_magnitude
from bnn_jax.regularizers.mimicking import mimicking_term, raw_weight_mimicking, weight_mimicking
from bnn_jax.regularizers.spectral import (
    adaptive_avg_pool,
    exact_norm,
    power_iteration_norm,
    retention_matrix,
    retention_norm,
)

__all__ = [
    "RELEASED_TARGETS",
    "KurtosisTerm",
    "adaptive_avg_pool",
    "distillation_term",
    "exact_norm",
    "kl_divergence",
    "kurtosis",
    "kurtosis_term",
    "lipschitz_retention",
    "lipschitz_term",
    "mimicking_term",
    "power_iteration_norm",
    "raw_weight_mimicking",
    "released_weight",
    "retention_matrix",
    "retention_norm",
    "ridge",
    "soft_cross_entropy",
    "unit_magnitude",
    "weight_kurtosis",
    "weight_mimicking",
]
