"""Kurtosis of an array, in float32 at least, with its derivative written out."""

import jax
import jax.numpy as jnp
from jax import Array

# Deviations below this share of the largest magnitude are what rounding leaves of a constant.
_CONSTANT = 1e-6


def kurtosis(w: Array) -> Array:
    """mean(((w - mean w) / std w)^4) with the unbiased std, of all dimensions but the last.

    3 for normal, 1.8 for uniform values, and least for two values of equal number: ((n - 1) / n)^2.

    Args:
      w: (n, k), floating point, n two or more.

    Returns:
      (k,), float32 or wider. A constant column, which has no kurtosis, gives 0 and no gradient.
    """
    return _kurtosis(w.astype(jnp.promote_types(w.dtype, jnp.float32)))


@jax.custom_jvp
def _kurtosis(w: Array) -> Array:
    return _parts(w)[0]


@_kurtosis.defjvp
def _kurtosis_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # With z = (w - mean) / std:  dK/dw = 4 / (n std) (z^3 - mean z^3 - n / (n - 1) K z).
    (w,), (dw,) = primals, tangents
    value, z, std = _parts(w)
    n = w.shape[0]
    cubes = z * z * z
    slope = cubes - jnp.mean(cubes, 0, keepdims=True) - n / (n - 1) * value[None] * z
    return value, jnp.sum(slope * dw, axis=0) * (4.0 / n) / std


def _parts(w: Array) -> tuple[Array, Array, Array]:
    """Kurtosis (k,), standardized values (n, k), std (k,); of a constant column 0, zeros, 1."""
    n = w.shape[0]
    # Squares of very small or large weights would leave the range of float32.
    unit = jnp.max(jnp.abs(w), axis=0)
    unit = jnp.where(unit > 0, unit, 1.0)
    centered = w / unit[None]
    centered = centered - jnp.mean(centered, axis=0, keepdims=True)
    std = jnp.sqrt(jnp.sum(jnp.square(centered), axis=0) / (n - 1))
    varies = std > _CONSTANT
    z = jnp.where(varies[None], centered / jnp.where(varies, std, 1.0)[None], 0.0)
    value = jnp.where(varies, jnp.mean(jnp.square(jnp.square(z)), axis=0), 0.0)
    return value, z, jnp.where(varies, std, 1.0) * unit
