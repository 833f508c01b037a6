"""Frosted glass: pixels take the place of near ones, between two smoothings."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from bnn_jax.evaluation.corruptions import linear
from bnn_jax.evaluation.corruptions.record import Corruption, Shape, column, to_bytes
from bnn_jax.evaluation.corruptions.severities import Rows

_MOST_PASSES = 3


class Glass(NamedTuple):
    """Constants: smoothing matrices, the farthest that a pixel comes from, and how often all are moved."""

    smoothing: tuple[Any, Any]
    reach: Any
    passes: Any


def sources(uniform: Array, reach: Array, height: int, width: int) -> Array:
    """Which pixel each pixel is a copy of after one pass, as places in the flattened image, (height * width,).

    The pass goes from the last pixel to the first, away from the border, and each takes the value that the pixel at
    (dy, dx) from it has then, both uniform in {-reach, ..., reach - 1}. (The released program means to exchange the
    two, but its second assignment reads what its first has written; the published images were made so.) A pixel that
    had its turn before holds a copy itself. Following copies of copies is a walk along a chain, here all chains at
    once, twice as far each time; for a reach of 1 nothing comes from a pixel that had its turn.

    Args:
      uniform: (height, width, 2) in [0, 1), of dx and dy.
      reach: at least 1, scalar.
      height: of the image.
      width: of the image.
    """
    steps = jnp.floor(uniform * (2 * reach)).astype(jnp.int32) - reach
    row, col = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")

    def moves(row: Array, col: Array) -> Array:
        return (row > reach) & (row <= height - reach) & (col > reach) & (col <= width - reach)

    moved = moves(row, col)
    from_row = jnp.where(moved, row + steps[..., 1], row).ravel()
    from_col = jnp.where(moved, col + steps[..., 0], col).ravel()
    place = from_row * width + from_col
    copied = moves(from_row, from_col) & (place > jnp.arange(height * width)) & moved.ravel()

    def double(chain: tuple[Array, Array]) -> tuple[Array, Array]:
        place, copied = chain
        return jnp.where(copied, place[place], place), copied & copied[place]

    return lax.while_loop(lambda chain: jnp.any(chain[1]), double, (place, copied))[0]


def _draw(key: Array, shape: Shape) -> Array:
    return jax.random.uniform(key, (_MOST_PASSES, *shape[:2], 2))


def _apply(x: Array, uniform: Array, glass: Glass) -> Array:
    height, width, channels = x.shape
    pixels = to_bytes(linear.smooth(glass.smoothing, x)).reshape(height * width, channels)

    def shuffle(i: Array, pixels: Array) -> Array:
        return pixels[sources(uniform[i], glass.reach, height, width)]

    pixels = lax.fori_loop(0, glass.passes, shuffle, pixels)
    return linear.smooth(glass.smoothing, pixels.reshape(height, width, channels) / 255.0)


def _prepare(rows: Rows, shape: Shape) -> Glass:
    smoothing = linear.smoothing(shape, [row[0] for row in rows])
    return Glass(smoothing, column(rows, 1, np.int32), column(rows, 2, np.int32))


# Standard deviation of the smoothing, reach, both in pixels, and the number of passes.
glass_blur = Corruption("glass_blur", _draw, _apply, _prepare)
