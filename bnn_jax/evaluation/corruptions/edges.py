"""Edges of an image and distances from them, as OpenCV finds them: what spatter is drawn with.

Images are (height, width), float32 that holds whole numbers of 0 to 255.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from bnn_jax.evaluation.corruptions import linear

_SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
# tan(22.5 degrees) in units of 2^-15, as OpenCV rounds it.
_TANGENT = 13573
# Lengths of the moves to the pixel beside, to the diagonal one, and of the knight's move.
_SIDE, _DIAGONAL, _KNIGHT = 1.0, 1.4, 2.1969


def _neighbours(x: Array, row: int, column: int, outside: float) -> Array:
    """x[i + row, j + column], `outside` beyond the border."""
    height, width = x.shape
    wide = jnp.pad(x, 2, constant_values=outside)
    return lax.slice(wide, (2 + row, 2 + column), (2 + row + height, 2 + column + width))


def canny(x: Array, low: float, high: float) -> Array:
    """Canny's edges: ridges of the gradient's size |dx| + |dy| above `low` that hang together with one above `high`.

    A ridge exceeds both neighbours in the direction of the gradient, taken to the nearest of four.

    Returns:
      bool, the same shape.
    """
    dx = linear.correlate3(x, _SOBEL, linear.nearest).astype(jnp.int32)
    dy = linear.correlate3(x, _SOBEL.T, linear.nearest).astype(jnp.int32)
    magnitude = abs(dx) + abs(dy)

    def near(row: int, column: int) -> Array:
        return _neighbours(magnitude, row, column, 0)

    across, down = abs(dx), abs(dy) << 15
    flat, steep = across * _TANGENT, across * _TANGENT + (across << 16)
    horizontal = (magnitude > near(0, -1)) & (magnitude >= near(0, 1))
    vertical = (magnitude > near(-1, 0)) & (magnitude >= near(1, 0))
    falling = (magnitude > near(-1, -1)) & (magnitude > near(1, 1))
    rising = (magnitude > near(-1, 1)) & (magnitude > near(1, -1))
    diagonal = jnp.where((dx ^ dy) < 0, rising, falling)
    ridge = jnp.where(down < flat, horizontal, jnp.where(down > steep, vertical, diagonal))
    weak = ridge & (magnitude > low)

    def grow(state: tuple[Array, Array]) -> tuple[Array, Array]:
        edges, _ = state
        beside = [_neighbours(edges, i, j, False) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
        grown = edges | (jax.tree.reduce(jnp.logical_or, beside) & weak)
        return grown, jnp.any(grown != edges)

    return lax.while_loop(lambda state: state[1], grow, (weak & (magnitude > high), jnp.array(True)))[0]


def distance(edges: Array, most: int) -> Array:
    """Length of the shortest way to an edge in moves of 1, 1.4 (diagonal) and 2.1969 (a knight's), at most `most`."""
    lengths = {
        (i, j): {1: _SIDE, 2: _DIAGONAL, 5: _KNIGHT}[i * i + j * j]
        for i in range(-2, 3)
        for j in range(-2, 3)
        if i * i + j * j in (1, 2, 5)
    }

    def step(_: int, found: Array) -> Array:
        best = found
        for (i, j), length in lengths.items():
            best = jnp.minimum(best, _neighbours(found, i, j, float(most)) + length)
        return best

    # A way of that length has no more moves.
    return lax.fori_loop(0, most, step, jnp.where(edges, 0.0, float(most)))


def mean3(x: Array) -> Array:
    """Mean over 3 x 3 pixels, mirrored at the border."""
    return linear.correlate3(x, np.ones((3, 3)), linear.mirror) / 9.0


def equalize(x: Array, levels: int) -> Array:
    """Spreads the levels so that their shares are even: the darkest becomes 0, the brightest 255.

    Args:
      x: whole numbers of 0 to `levels` - 1.
      levels: how many there may be.
    """
    counts = jnp.sum(x[None] == jnp.arange(levels, dtype=x.dtype)[:, None, None], (1, 2))
    below = jnp.cumsum(counts)
    darkest = counts[jnp.argmax(counts > 0)]
    rest = x.size - darkest
    spread = jnp.round((below - darkest) * (255.0 / jnp.maximum(rest, 1)))
    return jnp.where(rest > 0, spread[x.astype(jnp.int32)], x)
