"""bnn_jax: binary neural networks in JAX."""

from bnn_jax import binarizers, regularizers, ste

__version__ = "0.1.0"
__all__ = ["binarizers", "regularizers", "ste"]
