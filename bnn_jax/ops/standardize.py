"""Zero mean and unit variance, alone and followed by sign."""

from functools import partial
from math import prod

import jax
import jax.numpy as jnp
from jax import Array, lax

Moments = tuple[Array, Array]


def moments(x: Array, axes: tuple[int, ...], eps: float) -> Moments:
    """Mean and 1 / sqrt(var + eps) over `axes`, which are kept as ones; unbiased variance, two passes."""
    n = prod(x.shape[axis] for axis in axes)
    mean = jnp.mean(x, axes, keepdims=True)
    # E[x^2] - E[x]^2 would cancel where the mean is large beside the deviation.
    var = jnp.sum(jnp.square(x - mean), axes, keepdims=True) / (n - 1)
    return mean, lax.rsqrt(var + eps)


def standardize(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    """(x - mean) / sqrt(var + eps) over `axes`, unbiased variance; differentiable with its exact Jacobian.

    Args:
      x: Any shape, float32 or wider, two or more values along `axes`.
      axes: Over which statistics are taken.
      eps: Added to the variance; makes a constant `x` give zeros, with finite gradients.
    """
    mean, factor = moments(x, axes, eps)
    return (x - mean) * factor


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def standardize_sign(x: Array, eps: float) -> Array:
    """Sign of each standardized sample, with the polynomial surrogate: slope max(0, 2 - 2|x~|) at x~.

    Equal to `ste.sign(standardize(x, ...), ste.polynomial)`, but keeps `x` and two numbers per sample for the
    backward pass, which recomputes the rest in as many passes over memory as it has sums.

    Args:
      x: (batch, ...), float32 or wider.
      eps: Added to the variance.

    Returns:
      Values in {-1, +1}, shape and dtype of `x`.
    """
    return _forward(x, eps)[0]


def _axes(x: Array) -> tuple[int, ...]:
    return tuple(range(1, x.ndim))


def _forward(x: Array, eps: float) -> tuple[Array, tuple[Array, Array, Array]]:
    if x.ndim < 2 or prod(x.shape[1:]) < 2:
        raise ValueError(f"a sample needs two or more values for a variance, found inputs of shape {x.shape}")
    mean, factor = moments(x, _axes(x), eps)
    one = jnp.ones((), x.dtype)
    return jnp.where(x >= mean, one, -one), (x, mean, factor)


def _backward(eps: float, kept: tuple[Array, Array, Array], g: Array) -> tuple[Array]:
    del eps
    x, mean, factor = kept
    axes, n = _axes(x), x[0].size
    standardized = (x - mean) * factor
    slope = g * jnp.maximum(0, 2 - 2 * jnp.abs(standardized))
    along_ones = jnp.mean(slope, axes, keepdims=True)
    along_x = jnp.sum(slope * standardized, axes, keepdims=True) / (n - 1)
    return ((slope - along_ones - standardized * along_x) * factor,)


standardize_sign.defvjp(_forward, _backward)
