"""Elastic transform: the image is sheared, then every pixel is shifted a little, near ones alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnn_jax.evaluation.corruptions import linear
from bnn_jax.evaluation.corruptions.record import Corruption, Shape, column
from bnn_jax.evaluation.corruptions.severities import Rows

_TRUNCATE = 3.0


class Elastic(NamedTuple):
    """Constants: the shifts' size in pixels, their smoothing, and how far the corners of the shear move, in pixels."""

    size: Any
    smoothing: tuple[Any, Any]
    corners: Any


def sample(x: Array, rows: Array, columns: Array, border: Callable[[Any, int], Any]) -> Array:
    """The image at places between its pixels, by bilinear interpolation.

    Args:
      x: (height, width, channels).
      rows: places, (height, width).
      columns: places, the same shape.
      border: what lies outside, see `linear`.
    """
    height, width, channels = x.shape
    flat = x.reshape(height * width, channels)
    top, left = jnp.floor(rows), jnp.floor(columns)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    above, below = (border(top.astype(jnp.int32) + i, height) * width for i in (0, 1))
    before, after = (border(left.astype(jnp.int32) + i, width) for i in (0, 1))
    upper = flat[above + before] * (1 - right) + flat[above + after] * right
    lower = flat[below + before] * (1 - right) + flat[below + after] * right
    return upper * (1 - down) + lower * down


def shear(x: Array, moves: Array) -> Array:
    """The affine map that moves three corners of a square in the middle, a third of the image from it.

    Args:
      x: (height, width, channels).
      moves: of the lower right, upper right and upper left corner, (3, 2): right and down, in pixels.
    """
    height, width, _ = x.shape
    middle, half = np.array([width // 2, height // 2]), min(height, width) // 3
    corners = middle + half * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = corners + moves
    # Where the unit vectors to the right and down go.
    right, down = (moved[1] - moved[2]) / (2 * max(half, 1)), (moved[0] - moved[1]) / (2 * max(half, 1))
    determinant = right[0] * down[1] - down[0] * right[1]
    # A map that folds the image to a line has no inverse; it is taken to be nearly one that has.
    determinant = jnp.where(abs(determinant) < 1e-6, 1e-6, determinant)
    rows, columns = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    from_right, from_down = columns - moved[1, 0], rows - moved[1, 1]
    source_columns = corners[1, 0] + (down[1] * from_right - down[0] * from_down) / determinant
    source_rows = corners[1, 1] + (right[0] * from_down - right[1] * from_right) / determinant
    return sample(x, source_rows, source_columns, linear.mirror)


def _draw(key: Array, shape: Shape) -> tuple[Array, Array]:
    """Moves of the corners (3, 2), and shifts to the right and down (2, height, width), all in [-1, 1)."""
    corners, shifts = jax.random.split(key)
    return (
        jax.random.uniform(corners, (3, 2), minval=-1.0),
        jax.random.uniform(shifts, (2, *shape[:2]), minval=-1.0),
    )


def _apply(x: Array, draws: tuple[Array, Array], elastic: Elastic) -> Array:
    corners, shifts = draws
    x = shear(x, elastic.corners * corners)
    right, down = (elastic.size * linear.smooth(elastic.smoothing, shift) for shift in shifts)
    rows, columns = jnp.meshgrid(jnp.arange(x.shape[0]), jnp.arange(x.shape[1]), indexing="ij")
    return sample(x, rows + down, columns + right, linear.reflect)


def _prepare(rows: Rows, shape: Shape) -> Elastic:
    smoothing = linear.smoothing(shape, [row[1] for row in rows], border=linear.reflect, truncate=_TRUNCATE)
    return Elastic(column(rows, 0), smoothing, column(rows, 2))


# Size of the shifts, standard deviation of their smoothing, and the corners' largest move, in pixels.
elastic_transform = Corruption("elastic_transform", _draw, _apply, _prepare)
