"""What storing an image does to it: fewer pixels, JPEG."""

from __future__ import annotations

import io
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnn_jax.evaluation.corruptions import linear
from bnn_jax.evaluation.corruptions.record import Corruption, Shape, column, no_draws, to_bytes
from bnn_jax.evaluation.corruptions.severities import Rows


def _pixelate(x: Array, draws: None, maps: tuple[Any, Any]) -> Array:
    del draws
    rows, columns = map(jnp.asarray, maps)
    # Pillow rounds between the two directions, columns first.
    narrow = jnp.floor(linear.across(columns, to_bytes(x)) + 0.5)
    return jnp.floor(linear.down(rows, narrow) + 0.5) / 255.0


def _boxes(rows: Rows, shape: Shape) -> tuple[np.ndarray, ...]:
    return tuple(
        np.stack([linear.boxes(size, max(1, int(size * row[0]))) for row in rows]).astype(np.float32)
        for size in shape[:2]
    )


def jpeg_files(images: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """Images written as JPEG and read again, by Pillow on the host.

    Args:
      images: uint8 (..., height, width, channels).
      quality: 1 to 95, of each (...) or of all ().
    """
    from PIL import Image

    result = np.empty(images.shape, np.uint8)
    quality = np.broadcast_to(quality, images.shape[:-3])
    for index in np.ndindex(*images.shape[:-3]):
        image = images[index] if images.shape[-1] == 3 else images[index][..., 0]
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=int(quality[index]))
        with Image.open(file) as stored:
            result[index] = np.asarray(stored).reshape(images.shape[-3:])
    return result


def _jpeg(x: Array, draws: None, quality: Array) -> Array:
    del draws

    def on_host(images: Any, quality: Any) -> np.ndarray:
        return jpeg_files(np.asarray(images), np.asarray(quality))

    result = jax.ShapeDtypeStruct(x.shape, jnp.uint8)
    stored = jax.pure_callback(on_host, result, to_bytes(x).astype(jnp.uint8), quality, vmap_method="broadcast_all")
    # The codec would make black of NaN.
    return jnp.where(jnp.isnan(x), x, stored / 255.0)


def _quality(rows: Rows, shape: Shape) -> np.ndarray:
    del shape
    return column(rows, 0, np.int32)


# Share of the pixels that is left in each direction.
pixelate = Corruption("pixelate", no_draws, _pixelate, _boxes)
# Pillow's quality.
jpeg_compression = Corruption("jpeg_compression", no_draws, _jpeg, _quality, jpeg_files)
