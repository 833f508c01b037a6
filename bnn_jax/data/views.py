"""What a network sees of a large image: a random part of it in training, its middle in evaluation."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["DRAWS", "Box", "center_box", "decode", "middle", "random_box", "random_part"]

TRIES = 10
DRAWS = 4 * TRIES


class Box(NamedTuple):
    """A part of an image, in pixels: columns ``left .. right - 1`` of rows ``top .. bottom - 1``."""

    left: int
    top: int
    right: int
    bottom: int


def decode(encoded: bytes, where: str) -> Image:
    """Decodes a JPEG, PNG or other image to RGB.

    Args:
      encoded: the file's bytes.
      where: what they are; begins the error message.

    Raises:
      ValueError: if Pillow cannot read them, or they are cut short.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return image.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{where}: expected an encoded image, found {len(encoded):,} bytes that Pillow cannot read ({error}). "
            "Copy the file again. (A training whose set of images changes must begin anew.)"
        ) from error


def random_box(
    height: int,
    width: int,
    uniforms: npt.NDArray[np.float64],
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Box:
    """Inception's random part of an image, by torchvision's rules.

    A part has a share of the area uniform in ``scale`` and a shape (width / height) log-uniform in ``ratio``. The
    first of ten draws that fits is taken; if none does, the middle, cut to the nearest shape in ``ratio``.

    Args:
      height: of the image.
      width: of the image.
      uniforms: ``float64 (DRAWS,)`` in [0, 1).
      scale: least and largest share of the area; one above 1 fits in some shapes only, and else draws again.
      ratio: least and largest width / height.
    """
    for area_draw, shape_draw, row_draw, column_draw in uniforms.reshape(TRIES, 4):
        area = height * width * (scale[0] + (scale[1] - scale[0]) * area_draw)
        shape = math.exp(math.log(ratio[0]) + (math.log(ratio[1]) - math.log(ratio[0])) * shape_draw)
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            left, top = int((width - w + 1) * column_draw), int((height - h + 1) * row_draw)
            return Box(left, top, left + w, top + h)
    w = min(width, max(1, round(height * ratio[1])))
    h = min(height, max(1, round(width / ratio[0])))
    left, top = (width - w) // 2, (height - h) // 2
    return Box(left, top, left + w, top + h)


def random_part(
    image: Image,
    size: int,
    uniforms: npt.NDArray[np.float64],
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> npt.NDArray[np.uint8]:
    """The part of the image that `random_box` draws, resized: ``uint8 (size, size, 3)``."""
    box = random_box(image.height, image.width, uniforms, scale, ratio)
    return _resized(image.crop(box), size, size)


def center_box(height: int, width: int, size: int) -> Box:
    """The middle of an image, ``size`` pixels a side."""
    left, top = round((width - size) / 2), round((height - size) / 2)
    return Box(left, top, left + size, top + size)


def middle(image: Image, resize: int, size: int) -> npt.NDArray[np.uint8]:
    """The image resized so that its shorter side is ``resize``, and of that the middle: ``uint8 (size, size, 3)``."""
    shorter = min(image.height, image.width)
    height, width = (int(resize * side / shorter) for side in (image.height, image.width))
    box = center_box(height, width, size)
    return np.ascontiguousarray(_resized(image, height, width)[box.top : box.bottom, box.left : box.right])


def _resized(image: Image, height: int, width: int) -> npt.NDArray[np.uint8]:
    from PIL import Image as pillow

    return np.asarray(image.resize((width, height), pillow.Resampling.BILINEAR))
