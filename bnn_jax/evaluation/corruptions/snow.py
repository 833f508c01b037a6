"""Snow: drawn-out flakes over a paler image."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnn_jax.evaluation.corruptions import linear, motion
from bnn_jax.evaluation.corruptions.record import Corruption, Shape, column, to_bytes
from bnn_jax.evaluation.corruptions.severities import Rows

_LUMA = (0.299, 0.587, 0.114)


class Snow(NamedTuple):
    """Constants: the noise flakes are made of, its enlargement, what is a flake, how it falls, the own share."""

    mean: Any
    spread: Any
    zoom: tuple[Any, Any]
    threshold: Any
    streak: motion.Streak
    own: Any


def _draw(key: Array, shape: Shape) -> tuple[Array, Array]:
    """Normal noise (height, width), and the angle in degrees at which snow falls."""
    noise, angle = jax.random.split(key)
    return jax.random.normal(noise, shape[:2]), jax.random.uniform(angle, (), minval=-135.0, maxval=-45.0)


def flakes_of(normal: Array, snow: Snow) -> Array:
    """The layer of flakes before they fall, in [0, 1], from normal noise: both (height, width)."""
    layer = linear.smooth(snow.zoom, snow.mean + snow.spread * normal)
    return jnp.clip(jnp.where(layer < snow.threshold, 0.0, layer), 0.0, 1.0)


def fall(x: Array, flakes: Array, angle: Array, snow: Snow) -> Array:
    """The image (height, width, channels) under a layer of flakes (height, width), drawn out at an angle in degrees."""
    fallen = motion.blur(flakes[..., None], angle, snow.streak)
    fallen = jnp.floor(255.0 * fallen + 0.5) / 255.0
    luma = jnp.sum(x * jnp.array(_LUMA).reshape(1, 1, 3), -1, keepdims=True) if x.shape[-1] == 3 else x
    pale = snow.own * x + (1 - snow.own) * jnp.maximum(x, luma * 1.5 + 0.5)
    return pale + fallen + fallen[::-1, ::-1]


def _apply(x: Array, draws: tuple[Array, Array], snow: Snow) -> Array:
    normal, angle = draws
    # The released programs cut the layer to 8 bits before it is blurred.
    return fall(x, to_bytes(flakes_of(normal, snow)) / 255.0, angle, snow)


def _prepare(rows: Rows, shape: Shape) -> Snow:
    zooms = [np.stack([linear.zoom(size, row[2]) for row in rows]).astype(np.float32) for size in shape[:2]]
    streak = motion.streaks([(row[4], row[5]) for row in rows])
    return Snow(column(rows, 0), column(rows, 1), (zooms[0], zooms[1]), column(rows, 3), streak, column(rows, 6))


# Mean and spread of the noise, its enlargement, the threshold of flakes, radius and standard deviation in pixels of
# their streaks, and the share of the image's own colour.
snow = Corruption("snow", _draw, _apply, _prepare)
