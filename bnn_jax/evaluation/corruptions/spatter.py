"""Spatter: drops of water that shine at their edges, or of mud."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from bnn_jax.evaluation.corruptions import edges, linear
from bnn_jax.evaluation.corruptions.record import Corruption, Shape, column
from bnn_jax.evaluation.corruptions.severities import Rows

_WATER, _MUD = (175, 238, 238), (63, 42, 20)
_LUMA = (0.2989, 0.5870, 0.1140)
_EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
_FAR, _LOW, _HIGH = 20, 50.0, 150.0
_SOLID = 0.8
# Above float32's rounding of distances up to 20, below how near to whole numbers their means come.
_SLACK = 2.0**-17


class Spatter(NamedTuple):
    """Constants: the noise drops are made of, its smoothing, what is a drop, how water shines, mud's edge."""

    mean: Any
    spread: Any
    smoothing: tuple[Any, Any]
    threshold: Any
    intensity: Any
    soften: tuple[Any, Any]
    mud: Any


def water(layer: Array, intensity: Array) -> Array:
    """How much each pixel shines, (height, width), from a layer of drops in [0, 1], 0 where there are none."""
    drops = jnp.clip(jnp.floor(layer * 255.0), 0.0, 255.0)
    away = edges.mean3(edges.distance(edges.canny(drops, _LOW, _HIGH), _FAR))
    even = edges.equalize(jnp.floor(away + _SLACK), _FAR + 1)
    embossed = jnp.clip(linear.correlate3(even, _EMBOSS), 0.0, 255.0)
    shine = drops * jnp.round(edges.mean3(embossed))
    return shine / jnp.maximum(jnp.max(shine), 1.0) * intensity


def mud(layer: Array, threshold: Array, soften: tuple[Any, Any]) -> Array:
    """How much of each pixel is covered, (height, width), from a layer of drops."""
    cover = linear.smooth(soften, (layer > threshold).astype(jnp.float32))
    return jnp.where(cover < _SOLID, 0.0, cover)


def _colour(rgb: tuple[int, int, int], channels: int) -> Array:
    colour = np.array(rgb) / 255.0
    return jnp.asarray(colour if channels == 3 else [colour @ _LUMA], jnp.float32).reshape(1, 1, channels)


def _draw(key: Array, shape: Shape) -> Array:
    return jax.random.normal(key, shape[:2])


def _apply(x: Array, normal: Array, spatter: Spatter) -> Array:
    layer = linear.smooth(spatter.smoothing, spatter.mean + spatter.spread * normal)
    layer = jnp.where(layer < spatter.threshold, 0.0, layer)

    def muddy(layer: Array) -> Array:
        cover = mud(layer, spatter.threshold, spatter.soften)[..., None]
        return x * (1 - cover) + _colour(_MUD, x.shape[-1]) * cover

    def wet(layer: Array) -> Array:
        return x + water(layer, spatter.intensity)[..., None] * _colour(_WATER, x.shape[-1])

    return lax.cond(spatter.mud, muddy, wet, layer)


def _prepare(rows: Rows, shape: Shape) -> Spatter:
    is_mud = column(rows, 5, np.bool_)
    soften = linear.smoothing(shape, [row[4] if row[5] else 0 for row in rows])
    smoothing = linear.smoothing(shape, [row[2] for row in rows])
    numbers = [column(rows, i) for i in range(5)]
    return Spatter(numbers[0], numbers[1], smoothing, numbers[3], numbers[4], soften, is_mud)


# Mean and spread of the noise, its smoothing in pixels, the threshold of drops, intensity of water or smoothing of mud,
# and whether it is mud.
spatter = Corruption("spatter", _draw, _apply, _prepare)
