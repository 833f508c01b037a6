"""Binarizers: one file per method, all returning the records of `bnn_jax.binarizers.base`."""

from bnn_jax.binarizers import measures
from bnn_jax.binarizers.base import ActivationBinarizer, Binary, WeightBinarizer
from bnn_jax.binarizers.siman import angle_code, half_code, median_code, siman, siman_activations

__all__ = [
    "ActivationBinarizer",
    "Binary",
    "WeightBinarizer",
    "angle_code",
    "half_code",
    "measures",
    "median_code",
    "siman",
    "siman_activations",
]
