"""Light and colour: brightness, contrast, saturation.

Brightness and saturation are the V and S of HSV. With V = max, D = max - min over a pixel's channels and S = D / V,
both have a closed form in RGB, so no hue is ever computed:

    brightness: x (V + c) / V, the same hue and saturation with another V
    saturation: V - S' (V - x) / S, the same hue and V with another S
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from bnn_jax.evaluation.corruptions.record import Corruption, Shape, column, no_draws
from bnn_jax.evaluation.corruptions.severities import Rows


def _numbers(rows: Rows, shape: Shape) -> tuple[np.ndarray, ...]:
    del shape
    return tuple(column(rows, i) for i in range(len(rows[0])))


def _brightness(x: Array, draws: None, constants: tuple[Array]) -> Array:
    del draws
    value = jnp.max(x, -1, keepdims=True)
    brighter = jnp.clip(value + constants[0], 0.0, 1.0)
    # Black has no hue: it becomes gray.
    return jnp.where(value > 0, x * (brighter / jnp.where(value > 0, value, 1.0)), brighter)


def _saturate(x: Array, draws: None, constants: tuple[Array, Array]) -> Array:
    del draws
    if x.shape[-1] == 1:
        return x
    value = jnp.max(x, -1, keepdims=True)
    spread = value - jnp.min(x, -1, keepdims=True)
    saturation = spread / jnp.where(value > 0, value, 1.0)
    more = jnp.clip(saturation * constants[0] + constants[1], 0.0, 1.0)
    # Gray has no hue; the colour circle begins with red, and so it is taken for that.
    red = jnp.array([0.0, 1.0, 1.0]).reshape(1, 1, 3)
    hue = jnp.where(spread > 0, (value - x) / jnp.where(spread > 0, spread, 1.0), red)
    return value * (1.0 - more * hue)


def _contrast(x: Array, draws: None, constants: tuple[Array]) -> Array:
    del draws
    mean = jnp.mean(x, (0, 1), keepdims=True)
    return (x - mean) * constants[0] + mean


# What is added to V.
brightness = Corruption("brightness", no_draws, _brightness, _numbers)
# What the distance from each channel's mean is multiplied with.
contrast = Corruption("contrast", no_draws, _contrast, _numbers)
# What S is multiplied with, and what is then added to it.
saturate = Corruption("saturate", no_draws, _saturate, _numbers)
