"""Binarizers: one file per method, all returning the records of `bnn_jax.binarizers.base`."""

from bnn_jax.binarizers import measures
from bnn_jax.binarizers.base import ActivationBinarizer, Binary, Gradients, WeightBinarizer
from bnn_jax.binarizers.irnet import ede_schedule, irnet, irnet_activations
from bnn_jax.binarizers.reactnet import reactnet, rsign
from bnn_jax.binarizers.rebnn import rebnn
from bnn_jax.binarizers.siman import angle_code, half_code, median_code, siman, siman_activations

__all__ = [
    "ActivationBinarizer",
    "Binary",
    "Gradients",
    "WeightBinarizer",
    "angle_code",
    "ede_schedule",
    "half_code",
    "irnet",
    "irnet_activations",
    "measures",
    "median_code",
    "reactnet",
    "rebnn",
    "rsign",
    "siman",
    "siman_activations",
]
