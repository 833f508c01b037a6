"""Zero mean, unit variance."""

import jax.numpy as jnp
from jax import Array, lax


def standardize(x: Array, axes, eps: float = 1e-5) -> Array:
    c = x - jnp.mean(x, axes, keepdims=True)
    n = 1
    for a in axes:
        n *= x.shape[a]
    return c * lax.rsqrt(jnp.sum(c * c, axes, keepdims=True) / (n - 1) + eps)
