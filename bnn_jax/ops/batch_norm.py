"""Batch normalization by the statistics of the batch, with its gradient in closed form."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax


class BatchStatistics(NamedTuple):
    """Statistics per channel, not differentiable.

    Attributes:
      mean: (channels,).
      var: Biased variance, (channels,).
    """

    mean: Array
    var: Array


def batch_norm(
    x: Array, scale: Array, bias: Array, *, epsilon: float, axis_name: str | None = None
) -> tuple[Array, BatchStatistics]:
    """(x - mean) / sqrt(var + epsilon) * scale + bias over all axes but the last; reverse mode only.

    The backward pass keeps `x` and numbers per channel, and recomputes the rest in two passes over memory.

    Args:
      x: (batch, ..., channels), floating point.
      scale: (channels,).
      bias: (channels,).
      epsilon: Added to the variance.
      axis_name: The mapped axis over which the batch is split, if any; statistics are then of the whole batch.

    Returns:
      The normalized array, of the shape and dtype of `x`, and the statistics. All is computed in the widest of the
      three dtypes, or float32.
    """
    widest = jnp.promote_types(jnp.result_type(x, scale, bias), jnp.float32)
    y, mean, var = _batch_norm(x.astype(widest), scale.astype(widest), bias.astype(widest), epsilon, axis_name)
    return y.astype(x.dtype), BatchStatistics(lax.stop_gradient(mean), lax.stop_gradient(var))


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _batch_norm(x: Array, scale: Array, bias: Array, epsilon: float, axis_name: str | None) -> tuple[Array, ...]:
    return _forward(x, scale, bias, epsilon, axis_name)[0]


def _forward(
    x: Array, scale: Array, bias: Array, epsilon: float, axis_name: str | None
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    axes = tuple(range(x.ndim - 1))
    mean = _over_axis(jnp.mean(x, axes), axis_name)
    # Two passes: E[x^2] - E[x]^2 cancels where the mean is large beside the deviation.
    var = _over_axis(jnp.mean(jnp.square(x - _spread(mean, x)), axes), axis_name)
    factor = lax.rsqrt(var + epsilon)
    y = (x - _spread(mean, x)) * _spread(factor * scale, x) + _spread(bias, x)
    return (y, mean, var), (x, mean, factor, scale)


def _backward(
    epsilon: float, axis_name: str | None, kept: tuple[Array, ...], gradients: tuple[Array, ...]
) -> tuple[Array, Array, Array]:
    del epsilon
    x, mean, factor, scale = kept
    g = gradients[0]
    axes, count = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    normalized = (x - _spread(mean, x)) * _spread(factor, x)
    dbias, dscale = jnp.sum(g, axes), jnp.sum(g * normalized, axes)
    # Each device's loss depends on every device's inputs, by way of the shared statistics.
    along_ones, along_x = (_over_axis(v, axis_name) / count for v in (dbias, dscale))
    dx = (g - _spread(along_ones, x) - normalized * _spread(along_x, x)) * _spread(factor * scale, x)
    return dx, dscale, dbias


_batch_norm.defvjp(_forward, _backward)


def _over_axis(v: Array, axis_name: str | None) -> Array:
    return v if axis_name is None else lax.pmean(v, axis_name)


def _spread(v: Array, x: Array) -> Array:
    return jnp.expand_dims(v, range(x.ndim - 1))
