"""Frost: a part of a photograph of frost is added to the image.

CIFAR-10-C takes its textures at a fifth of their size, which is small enough to lie beside this file (`textures/`, see
NOTICE). ImageNet-C takes them whole, 2 MB, which is not: they are read from a folder, `frost_of(folder)` or that which
the environment variable BNN_JAX_FROST names. A small one enlarged would be another corruption.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from bnn_jax.evaluation.corruptions.record import Corruption, Shape, column
from bnn_jax.evaluation.corruptions.severities import Rows

FOLDER = "BNN_JAX_FROST"
# The released programs list a sixth, frost6.jpg, and never draw it.
FILES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
# At a fifth of their size: bilinear interpolation takes every fifth pixel, from the third on.
_SMALL = Path(__file__).parent / "textures"


class Frost(NamedTuple):
    """Constants: textures (files, height, width, 3) uint8, the larger of their sizes, filled up; sizes (files, 2)."""

    image_share: Any
    frost_share: Any
    textures: Any
    sizes: Any


def _place(folder: str) -> str:
    """The folder, or that which the environment names."""
    return folder or os.environ.get(FOLDER, "")


def has_textures(folder: str = "") -> bool:
    """Whether ImageNet-C's textures are in a folder, or in that of the environment if it is ""."""
    place = _place(folder)
    return bool(place) and all((Path(place).expanduser() / name).is_file() for name in FILES)


@cache
def _load(folder: Path, suffix: str = "") -> tuple[np.ndarray, ...]:
    from PIL import Image

    loaded = []
    for name in FILES:
        path = folder / (Path(name).stem + suffix if suffix else name)
        with Image.open(path) as image:
            loaded.append(np.asarray(image.convert("RGB")))
    return tuple(loaded)


def _textures(folder: str, scale: float) -> tuple[np.ndarray, ...]:
    if scale < 1:
        return _load(_SMALL, ".png")
    if not has_textures(folder):
        place = _place(folder)
        found = f"{place} does not hold them all" if place else "no folder was named"
        raise FileNotFoundError(
            f"ImageNet-C's frost needs its textures {', '.join(FILES)}: {found}. They come with "
            "https://github.com/hendrycks/robustness (ImageNet-C/create_c) and with the Python package "
            f"imagecorruptions (its folder frost/). Set {FOLDER} to the folder that holds them, or do "
            'without frost (eval.py --leave_out frost). Those of variant="cifar10_c", for small images, are here.'
        )
    return _load(Path(_place(folder)).expanduser())


def _fit(texture: np.ndarray, shape: Shape) -> np.ndarray:
    """The texture, enlarged if it does not exceed the image on both sides."""
    from PIL import Image

    height, width, _ = texture.shape
    factor = max((shape[0] + 1) / height, (shape[1] + 1) / width)
    if factor <= 1:
        return texture
    size = (int(np.ceil(width * factor)), int(np.ceil(height * factor)))
    return np.asarray(Image.fromarray(texture).resize(size, Image.Resampling.BICUBIC))


def pack(rows: Rows, textures: Sequence[np.ndarray]) -> Frost:
    """Constants from textures as they are, (height, width, 3) uint8 of any sizes above the image's."""
    sizes = np.array([texture.shape[:2] for texture in textures], np.int32)
    together = np.zeros((len(textures), *sizes.max(0), 3), np.uint8)
    for i, texture in enumerate(textures):
        together[i, : sizes[i, 0], : sizes[i, 1]] = texture
    shared = [np.broadcast_to(array, (len(rows), *array.shape)) for array in (together, sizes)]
    return Frost(column(rows, 0), column(rows, 1), *shared)


def _prepare(rows: Rows, shape: Shape, folder: str) -> Frost:
    return pack(rows, [_fit(texture, shape) for texture in _textures(folder, rows[0][2])])


def _draw(key: Array, shape: Shape) -> Array:
    """Which texture, and which part of it from top and from left, all in [0, 1)."""
    del shape
    return jax.random.uniform(key, (3,))


def _apply(x: Array, uniform: Array, frost: Frost) -> Array:
    height, width, channels = x.shape
    textures, sizes = jnp.asarray(frost.textures), jnp.asarray(frost.sizes)
    which = jnp.floor(uniform[0] * len(textures)).astype(jnp.int32)
    room = sizes[which] - jnp.array([height, width])
    top, left = jnp.floor(uniform[1:] * room).astype(jnp.int32)
    part = lax.dynamic_slice(textures, (which, top, left, 0), (1, height, width, 3))[0] / 255.0
    if channels == 1:
        part = (part @ jnp.array([0.2989, 0.5870, 0.1140], part.dtype))[..., None]
    frosted: Array = frost.image_share * x + frost.frost_share * part
    return frosted


@cache
def frost_of(folder: str = "") -> Corruption:
    """Frost with ImageNet-C's textures from a folder; "" for that of the environment variable BNN_JAX_FROST."""
    return Corruption("frost", _draw, _apply, partial(_prepare, folder=folder), reads=partial(_place, folder))


# Shares of the image and of the frost in the sum, and the scale of the textures.
frost = frost_of()
