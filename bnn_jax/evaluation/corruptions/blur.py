"""Blur of optics: Gaussian, defocused, zooming."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax import Array

from bnn_jax.evaluation.corruptions import linear
from bnn_jax.evaluation.corruptions.record import Corruption, Shape, no_draws
from bnn_jax.evaluation.corruptions.severities import Rows


def disk(radius: float, alias_blur: float) -> np.ndarray:
    """The image of a point out of focus: a disk, its edge smoothed, (k, k) with an odd k.

    Args:
      radius: in pixels.
      alias_blur: standard deviation in pixels of the smoothing, over 3 x 3 pixels (5 x 5 beyond a radius of 8).
    """
    reach, margin = (8, 1) if radius <= 8 else (int(radius), 2)
    offsets = np.arange(-reach, reach + 1)
    inside = (offsets[:, None] ** 2 + offsets[None] ** 2 <= radius**2).astype(np.float64)
    near = np.arange(-margin, margin + 1)
    weights = np.exp(-0.5 * (near / alias_blur) ** 2)
    smoothing = linear.taps(len(offsets), near, weights / weights.sum(), linear.mirror)
    return smoothing @ (inside / inside.sum()) @ smoothing.T


def separate(kernel: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """A kernel as a sum of products of columns and rows: by its singular values, those above rounding."""
    u, s, v = np.linalg.svd(kernel)
    return [(u[:, k] * s[k], v[k]) for k in range(len(s)) if s[k] > 1e-9 * s[0]]


def _defocus_maps(rows: Rows, shape: Shape) -> linear.Sum:
    sums = []
    for radius, alias_blur in rows:
        kernel = disk(radius, alias_blur)
        offsets = np.arange(len(kernel)) - len(kernel) // 2
        sums.append(
            [
                (
                    linear.taps(shape[0], offsets, down, linear.mirror),
                    linear.taps(shape[1], offsets, across, linear.mirror),
                )
                for down, across in separate(kernel)
            ]
        )
    return linear.stack(sums)


def _zoom_maps(rows: Rows, shape: Shape) -> linear.Sum:
    sums = []
    for end, step in rows:
        factors = [1.0, *np.arange(1, end, step)]  # the image itself, and all zooms of it, that by 1 too
        share = 1 / len(factors)
        sums.append([(share * linear.zoom(shape[0], f), linear.zoom(shape[1], f)) for f in factors])
    return linear.stack(sums)


def _gaussian_maps(rows: Rows, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    return linear.smoothing(shape, [row[0] for row in rows])


def _sum(x: Array, draws: None, maps: linear.Sum) -> Array:
    del draws
    return linear.through_sum(maps, x)


def _smooth(x: Array, draws: None, maps: Any) -> Array:
    del draws
    return linear.smooth(maps, x)


# Standard deviation in pixels.
gaussian_blur = Corruption("gaussian_blur", no_draws, _smooth, _gaussian_maps)
# Radius of the disk, and standard deviation of the smoothing of its edge, in pixels.
defocus_blur = Corruption("defocus_blur", no_draws, _sum, _defocus_maps)
# Where the zoom factors end, which begin at 1, and the step between them.
zoom_blur = Corruption("zoom_blur", no_draws, _sum, _zoom_maps)
