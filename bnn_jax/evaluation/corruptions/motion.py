"""Blur of motion: each pixel becomes a mean over a streak that begins there."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from bnn_jax.evaluation.corruptions.record import Corruption, Shape
from bnn_jax.evaluation.corruptions.severities import Rows


class Streak(NamedTuple):
    """How a streak fades: weights (longest,) of which the first `points` are not zero."""

    weights: Any
    points: Any


def streaks(rows: list[tuple[float, float]]) -> Streak:
    """Streaks of 2 radius + 1 points with weights exp(-i^2 / (2 sigma^2)), normalized, for each (radius, sigma)."""
    counts = np.array([2 * int(radius) + 1 for radius, _ in rows], np.int32)
    weights = np.zeros((len(rows), counts.max()), np.float32)
    for i, (_, sigma) in enumerate(rows):
        fade = np.exp(-0.5 * (np.arange(counts[i]) / sigma) ** 2)
        weights[i, : counts[i]] = fade / fade.sum()
    return Streak(weights, counts)


def blur(x: Array, angle: Array, streak: Streak) -> Array:
    """Mean over the points (ceil(i sin - 1/2), ceil(i cos - 1/2)), i = 0, 1, ..., down and to the right of each pixel.

    Pixels outside are those at the border: a streak longer than the image has all its weight.

    Args:
      x: (height, width, channels).
      angle: in degrees, scalar.
      streak: its weights.
    """
    height, width, _ = x.shape
    weights = jnp.asarray(streak.weights)
    along, radians = jnp.arange(len(weights)), jnp.deg2rad(angle)
    down = jnp.ceil(along * jnp.sin(radians) - 0.5).astype(jnp.int32)
    right = jnp.ceil(along * jnp.cos(radians) - 0.5).astype(jnp.int32)

    def add(i: Array, total: Array) -> Array:
        rows = jnp.clip(jnp.arange(height) + down[i], 0, height - 1)
        columns = jnp.clip(jnp.arange(width) + right[i], 0, width - 1)
        return total + weights[i] * x[rows][:, columns]

    return lax.fori_loop(0, streak.points, add, jnp.zeros_like(x))


def _apply(x: Array, angle: Array, streak: Streak) -> Array:
    # The released programs blur 8-bit files, with ImageMagick, which rounds to the nearest.
    return jnp.floor(255.0 * blur(x, angle, streak) + 0.5) / 255.0


def _draw(key: Array, shape: Shape) -> Array:
    del shape
    return jax.random.uniform(key, (), minval=-45.0, maxval=45.0)


def _prepare(rows: Rows, shape: Shape) -> Streak:
    del shape
    return streaks([(radius, sigma) for radius, sigma in rows])


# Radius and standard deviation of the streak, in pixels.
motion_blur = Corruption("motion_blur", _draw, _apply, _prepare)
