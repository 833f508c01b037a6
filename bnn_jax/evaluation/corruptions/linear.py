"""Maps that are linear along rows and along columns: smoothing, zooming, shrinking, as matrices.

y = R x C^T with R (height, height) and C (width, width), what happens at the border folded in. Matrices are made in
float64 by NumPy, once for each size; products are what every device does best, and the severity is but another matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

Index = TypeVar("Index", np.ndarray, Array)


def nearest(index: Index, n: int) -> Index:
    """Border ``a a | a b c | c c``: places outside of 0 .. n - 1 are those at the end."""
    return index.clip(0, n - 1)


def reflect(index: Index, n: int) -> Index:
    """Border ``b a | a b c | c b``."""
    return (2 * n - 1 - abs(2 * (index % (2 * n)) - 2 * n + 1)) // 2


def mirror(index: Index, n: int) -> Index:
    """Border ``c b | a b c | b a``."""
    return n - 1 - abs(index % (2 * n - 2) - (n - 1)) if n > 1 else 0 * index


def taps(n: int, offsets: np.ndarray, weights: np.ndarray, border: Callable[[Any, int], Any]) -> np.ndarray:
    """The matrix of y[i] = sum_k weights[k] x[i + offsets[k]]: (n, n)."""
    places = border(np.arange(n)[:, None] + offsets[None], n)
    matrix = np.zeros((n, n))
    np.add.at(matrix, (np.arange(n)[:, None], places), np.broadcast_to(weights, places.shape))
    return matrix


def gaussian(n: int, sigma: float, border: Callable[[Any, int], Any] = nearest, truncate: float = 4.0) -> np.ndarray:
    """Smoothing with exp(-k^2 / (2 sigma^2)), cut at `truncate` sigma and normalized: (n, n)."""
    radius = int(truncate * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2) if radius else np.ones(1)
    return taps(n, offsets, weights / weights.sum(), border)


def zoom(n: int, factor: float) -> np.ndarray:
    """The middle n / factor pixels drawn out to n by linear interpolation, ends on ends: (n, n).

    The middle is ceil(n / factor) pixels, and becomes round of that times factor; what is then too much is cut off
    both ends.
    """
    part = math.ceil(n / factor)
    first, drawn = (n - part) // 2, round(part * factor)
    ratio = (part - 1) / (drawn - 1) if drawn > 1 else 1.0
    places = (np.arange(n) + (drawn - n) // 2) * ratio
    low = np.clip(np.floor(places).astype(int), 0, part - 1)
    high, share = np.minimum(low + 1, part - 1), places - low
    matrix = np.zeros((n, n))
    np.add.at(matrix, (np.arange(n), first + low), 1 - share)
    np.add.at(matrix, (np.arange(n), first + high), share)
    return matrix


def boxes(n: int, parts: int) -> np.ndarray:
    """Means over `parts` boxes, each spread over the pixels nearest to it: (n, n).

    A pixel belongs to the box its middle lies in.
    """
    scale = n / parts
    middles = np.arange(n) + 0.5
    rows = []
    for box in range(parts):
        inside = (middles > box * scale) & (middles <= (box + 1) * scale)
        rows.append(inside / inside.sum())
    spread = np.minimum((middles * (parts / n)).astype(int), parts - 1)
    return np.stack(rows)[spread]


def down(matrix: Array, x: Array) -> Array:
    """Along the columns of an image: matrix (h, height), x (height, width, ...) to (h, width, ...)."""
    return jnp.einsum("hi,ij...->hj...", matrix, x, precision=lax.Precision.HIGHEST)


def across(matrix: Array, x: Array) -> Array:
    """Along the rows of an image: matrix (w, width), x (height, width, ...) to (height, w, ...)."""
    return jnp.einsum("wj,hj...->hw...", matrix, x, precision=lax.Precision.HIGHEST)


class Sum(NamedTuple):
    """A sum of such maps, of which the first `terms` are not zero.

    Attributes:
      rows: (maps, height, height).
      columns: (maps, width, width).
      terms: how many there are.
    """

    rows: Any
    columns: Any
    terms: Any


def stack(sums: Sequence[Sequence[tuple[np.ndarray, np.ndarray]]]) -> Sum:
    """Sums of pairs (rows, columns), one for each severity, filled up with zeros to the same number of maps."""
    most = max(map(len, sums))

    def filled(side: int) -> np.ndarray:
        size = len(sums[0][0][side])
        array = np.zeros((len(sums), most, size, size), np.float32)
        for i, pairs in enumerate(sums):
            array[i, : len(pairs)] = [pair[side] for pair in pairs]
        return array

    return Sum(filled(0), filled(1), np.array([len(pairs) for pairs in sums], np.int32))


def through_sum(maps: Sum, x: Array) -> Array:
    """Sum of R_k x C_k^T over the maps, one after the other: no more memory than two images."""
    rows, columns = jnp.asarray(maps.rows), jnp.asarray(maps.columns)

    def add(k: Array, total: Array) -> Array:
        return total + across(columns[k], down(rows[k], x))

    return lax.fori_loop(0, maps.terms, add, jnp.zeros_like(x))


def smoothing(shape: Sequence[int], sigmas: Sequence[float], **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian smoothing of images of a shape with each sigma: (sigmas, height, height), (sigmas, width, width)."""
    rows, columns = (
        np.stack([gaussian(size, sigma, **options) for sigma in sigmas]).astype(np.float32) for size in shape[:2]
    )
    return rows, columns


def smooth(maps: tuple[Any, Any], x: Array) -> Array:
    """R x C^T with one severity's pair of matrices."""
    return across(jnp.asarray(maps[1]), down(jnp.asarray(maps[0]), x))


def surround(x: Array, margin: int, border: Callable[[Any, int], Any]) -> Array:
    """An image with `margin` more pixels on every side: (height, width, ...) to (height + 2 margin, ...)."""
    rows, columns = (border(np.arange(-margin, size + margin), size) for size in x.shape[:2])
    return x[rows][:, columns]


def correlate3(x: Array, kernel: np.ndarray, border: Callable[[Any, int], Any] = mirror) -> Array:
    """y[i, j] = sum over a 3 x 3 kernel of kernel[a, b] x[i + a - 1, j + b - 1], of (height, width)."""
    height, width = x.shape
    around = surround(x, 1, border)
    parts = [
        float(kernel[a, b]) * lax.slice(around, (a, b), (a + height, b + width))
        for a in range(3)
        for b in range(3)
        if kernel[a, b]
    ]
    return jax.tree.reduce(jnp.add, parts)
