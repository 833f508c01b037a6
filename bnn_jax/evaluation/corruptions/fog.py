"""Fog: a fractal of the diamond-square algorithm laid over the image."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnn_jax.evaluation.corruptions.record import Corruption, Shape, column
from bnn_jax.evaluation.corruptions.severities import Rows

_WIBBLE = 100.0


def fractal(uniform: Array, decay: Array) -> Array:
    """A cloudy landscape between 0 and 1 which goes on at the opposite side, by the diamond-square algorithm.

    From one point at 0 the grid is doubled again and again. Each new point is the mean of the four around it, those
    in the middle of squares first, plus w^2 u with u uniform in [-1, 1), where w begins at 100 and is divided by
    `decay` with each doubling.

    Args:
      uniform: (side^2 - 1,) in [-1, 1), side a power of two.
      decay: scalar.

    Returns:
      (side, side).
    """
    grid, taken, wibble = jnp.zeros((1, 1)), 0, jnp.float32(_WIBBLE)
    while grid.size <= uniform.size:
        n = len(grid)
        middles, tops, lefts = uniform[taken : taken + 3 * n * n].reshape(3, n, n) * wibble**2
        pairs = grid + jnp.roll(grid, -1, 0)
        middles += (pairs + jnp.roll(pairs, -1, 1)) / 4
        tops += (middles + jnp.roll(middles, 1, 0) + grid + jnp.roll(grid, -1, 1)) / 4
        lefts += (middles + jnp.roll(middles, 1, 1) + grid + jnp.roll(grid, -1, 0)) / 4
        even, odd = jnp.stack([grid, tops], -1), jnp.stack([lefts, middles], -1)
        grid = jnp.stack([even, odd], 1).reshape(2 * n, 2 * n)
        taken, wibble = taken + 3 * n * n, wibble / decay
    grid -= jnp.min(grid)
    return grid / jnp.maximum(jnp.max(grid), jnp.finfo(jnp.float32).tiny)


def side(shape: Shape) -> int:
    """Side of the landscape for images of a shape: the next power of two."""
    return 1 << (max(shape) - 1).bit_length()


def _draw(key: Array, shape: Shape) -> Array:
    return jax.random.uniform(key, (side(shape) ** 2 - 1,), minval=-1.0)


def _apply(x: Array, uniform: Array, constants: tuple[Array, Array]) -> Array:
    amount, decay = constants
    height, width, _ = x.shape
    brightest = jnp.max(x)
    foggy = x + amount * fractal(uniform, decay)[:height, :width, None]
    return foggy * brightest / (brightest + amount)


def _prepare(rows: Rows, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    del shape
    return column(rows, 0), column(rows, 1)


# How much is laid over, and what `wibble` is divided by.
fog = Corruption("fog", _draw, _apply, _prepare)
