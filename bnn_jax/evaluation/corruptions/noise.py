"""Noise of sensors and of transmission: Gaussian, shot, impulse and speckle noise."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from bnn_jax.evaluation.corruptions.record import Corruption, Shape, column
from bnn_jax.evaluation.corruptions.severities import Rows

# Below this mean a Poisson number is found by summing probabilities: the next ones are certain to 1e-9.
_SMALL, _TERMS = 12.0, 40


def _normal(key: Array, shape: Shape) -> Array:
    return jax.random.normal(key, shape)


def _uniform(key: Array, shape: Shape) -> Array:
    return jax.random.uniform(key, shape)


def _one_number(rows: Rows, shape: Shape) -> np.ndarray:
    del shape
    return column(rows, 0)


def _gaussian(x: Array, normal: Array, scale: Array) -> Array:
    return x + scale * normal


def _speckle(x: Array, normal: Array, scale: Array) -> Array:
    return x + x * (scale * normal)


def _impulse(x: Array, uniform: Array, amount: Array) -> Array:
    return jnp.where(uniform < amount / 2, 1.0, jnp.where(uniform <= amount, 0.0, x))


def _shot(x: Array, uniform: Array, photons: Array) -> Array:
    return poisson_quantile(uniform, x * photons) / photons


def poisson_quantile(uniform: Array, mean: Array) -> Array:
    """The number k of a Poisson distribution with P(K <= k - 1) <= uniform < P(K <= k), one uniform draw a number.

    Means below 12 by summing probabilities; above by the expansion of the quantile in w, the normal quantile
    (Giles, ACM TOMS 42, 2016, algorithm 955):

        floor(m + sqrt(m) w + 1/3 + w^2/6 - (w + w^3/2) / (36 sqrt(m)) + (-8/405 + 7 w^2/810 + w^4/270) / m)

    which is the number itself but for 1 draw in 2,000 at a mean of 12, fewer above, and then its neighbour.

    Args:
      uniform: in [0, 1).
      mean: at least 0, the same shape.
    """
    term = total = jnp.exp(-mean)
    few = jnp.zeros_like(mean)
    for k in range(1, _TERMS + 1):
        few += uniform >= total
        term = term * (mean * (1 / k))  # a product: XLA keeps divisions, which cost several
        total = total + term
    m = jnp.maximum(mean, _SMALL)
    w = jnp.sqrt(2.0) * lax.erf_inv(2.0 * jnp.clip(uniform, 2.0**-25, 1.0 - 2.0**-24) - 1.0)
    many = m + jnp.sqrt(m) * w + 1 / 3 + w**2 / 6 - (w + w**3 / 2) / (36 * jnp.sqrt(m))
    many = jnp.floor(many + (-8 / 405 + 7 * w**2 / 810 + w**4 / 270) / m)
    return jnp.where(mean < _SMALL, few, jnp.maximum(many, 0.0))


# Each number is the standard deviation, of pixels in [0, 1]; for speckle noise of a white one.
gaussian_noise = Corruption("gaussian_noise", _normal, _gaussian, _one_number)
speckle_noise = Corruption("speckle_noise", _normal, _speckle, _one_number)
# The photons that make a white pixel.
shot_noise = Corruption("shot_noise", _uniform, _shot, _one_number)
# The share of values that become 0 or 1.
impulse_noise = Corruption("impulse_noise", _uniform, _impulse, _one_number)
