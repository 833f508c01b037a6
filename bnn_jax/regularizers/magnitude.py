"""Penalties on the magnitude of weights: drawn to 0, or to +1 and -1."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from bnn_jax.ops.precision import wide
from bnn_jax.regularizers.kernels import kernels


def ridge(params: Any, *, where: str = "", skip: str = "") -> Array:
    """Sum of w^2 over the chosen weights.

    Args:
      params: Any pytree of floating-point arrays.
      where: Which weights, see `bnn_jax.regularizers.kernels.kernels`.
      skip: Which of these not.

    Returns:
      Scalar, float32 or wider.

    Raises:
      ValueError: If a rule matches nothing, or nothing is left.
    """
    return sum((jnp.sum(jnp.square(wide(w))) for w in kernels(params, where, skip).values()), jnp.zeros(()))


def unit_magnitude(params: Any, *, where: str = "", skip: str = "") -> Array:
    """Sum over the chosen arrays of the norm || |w| - 1 ||_2.

    Args:
      params: Any pytree of floating-point arrays.
      where: Which weights, see `bnn_jax.regularizers.kernels.kernels`.
      skip: Which of these not.

    Returns:
      Scalar, float32 or wider. An array of nothing but +1 and -1, where it is least, has the gradient 0.

    Raises:
      ValueError: If a rule matches nothing, or nothing is left.
    """
    return sum((_distance(wide(w)) for w in kernels(params, where, skip).values()), jnp.zeros(()))


def _distance(w: Array) -> Array:
    squares = jnp.sum(jnp.square(jnp.abs(w) - 1.0))
    # The root of 0 has no finite slope.
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
