"""Kurtosis of an array, in float32 at least, with its derivative written out: few passes over memory."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from bnn_jax.ops.precision import wide

# A standard deviation below this share of the mean is what rounding leaves of a constant.
_CONSTANT = 1e-6


def kurtosis(w: Array, *, per_column: bool = False) -> Array:
    """mean(((w - mean w) / std w)^4) with the unbiased std, of all values or of each column.

    3 for normal, 1.8 for uniform values, and least for two values of equal number: ((n - 1) / n)^2.

    Args:
      w: (n, k), floating point, of two or more values (in a column).
      per_column: Whether each column has a kurtosis of its own.

    Returns:
      Scalar or (k,), float32 or wider. 0, without gradient, of what has no kurtosis: constants, and values that deviate
      by less than about 2e-8 or more than 1e9, whose fourth powers float32 does not hold. NaN, as is its gradient,
      where a value is NaN or infinite (or so large that the sum is).
    """
    return _kurtosis(wide(w), per_column)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _kurtosis(w: Array, per_column: bool) -> Array:
    return _moments(w, per_column).value


class _Moments(NamedTuple):
    """Mean, variance (unbiased), mean cube and kurtosis; which are sound, and what the kurtosis is of others."""

    mean: Array
    var: Array
    third: Array
    value: Array
    sound: Array
    none: Array


def _moments(w: Array, per_column: bool) -> _Moments:
    n = w.shape[0] if per_column else w.size

    def average(values: Array) -> Array:
        # By columns first, also of all values: a sum over everything at once is no vector operation on CPUs.
        columns = jnp.mean(values, axis=0)
        return columns if per_column else jnp.mean(columns)

    mean = average(w)
    d = w - _rows(mean, per_column)
    second, third, fourth = average(d * d), average(d * d * d), average(jnp.square(d * d))
    var = second * (n / (n - 1))
    limits = jnp.finfo(w.dtype)
    sound = (var > (_CONSTANT * mean) ** 2) & (var * var > limits.tiny / limits.eps) & jnp.isfinite(fourth)
    # Fourth powers of finite values may be infinite; an infinite value is NaN away from its mean.
    none = jnp.where(jnp.isnan(fourth), jnp.nan, 0.0)
    value = jnp.where(sound, fourth / jnp.where(sound, var * var, 1.0), none)
    return _Moments(mean, jnp.where(sound, var, 1.0), third, value, sound, none)


@_kurtosis.defjvp
def _jvp(per_column: bool, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # With z = (w - mean) / std:  dK/dw = 4 / (n std) (z^3 - mean z^3) - 4 K / ((n - 1) std) z.
    (w,), (dw,) = primals, tangents
    m = _moments(w, per_column)
    n = w.shape[0] if per_column else w.size
    std = jnp.sqrt(m.var)
    cubic, linear = (4.0 / n) / std, (4.0 / (n - 1)) * m.value / std
    factors = (m.sound, m.none, cubic, linear, m.third / (std * std * std), m.mean, std)
    sound, none, cubic, linear, third, mean, std = (_rows(v, per_column) for v in factors)
    z = (w - mean) / std
    slope = jnp.where(sound, cubic * (z * z * z - third) - linear * z, none)
    columns = jnp.sum(slope * dw, axis=0)
    return m.value, columns if per_column else jnp.sum(columns)


def _rows(v: Array, per_column: bool) -> Array:
    return v[None] if per_column else v
