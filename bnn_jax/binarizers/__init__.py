"""Binarizers: one file per method, all returning the records of `bnn_jax.binarizers.base`."""

from bnn_jax.binarizers.base import ActivationBinarizer, Binary, WeightBinarizer
from bnn_jax.binarizers.siman import siman, siman_activations

__all__ = ["ActivationBinarizer", "Binary", "WeightBinarizer", "siman", "siman_activations"]
