"""What makes a measurement what it is: the network's weights, the images, and what their errors may be set beside."""

from __future__ import annotations

import re
import zlib
from typing import Any

import jax
import numpy as np

from bnn_jax.data import ArraySource, DatasetInfo, Source
from bnn_jax.data.image_folder import FolderRecords
from bnn_jax.data.images import ImageSource
from bnn_jax.evaluation.corruptions import IMAGENET_C

# Of generated images: to be raised when a corruption makes other pixels of the same draws, or draws otherwise.
PIXELS = 1
_CLASSES = 1000
_SAMPLE = 8


def checksum(tree: Any) -> int:
    """CRC-32 over the bytes of all arrays of a pytree, in its order.

    Args:
      tree: arrays of any shapes and dtypes; these are no part of it, only the bytes are.

    Returns:
      A number in [0, 2^32).
    """
    found = 0
    for leaf in jax.tree.leaves(tree):
        found = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), found)
    return found


def sample_checksum(source: Source) -> int:
    """CRC-32 over the pixels of a few images of a source, from its first to its last: it is the same wherever they lie.

    Reading all of them would take as long as measuring. It tells other sets and other sizes, and not one other image.
    """
    places = np.linspace(0, len(source) - 1, min(_SAMPLE, len(source))).round().astype(int)
    return checksum([np.asarray(source[int(place)]["image"]) for place in places])


def beside_alexnet(info: DatasetInfo, variant: str) -> bool:
    """Whether errors may be divided by AlexNet's on ImageNet-C: ImageNet's 1,000 classes at ImageNet-C's severities.

    Classes are known by their WordNet ids (n01440764), or only by their numbers.
    """
    numbers = tuple(map(str, range(_CLASSES)))
    ids = all(re.fullmatch(r"n\d{8}", name) for name in info.class_names)
    return variant == IMAGENET_C and info.num_classes == _CLASSES and (ids or tuple(info.class_names) == numbers)


def caveat(info: DatasetInfo, variant: str) -> str | None:
    """Why there is no mCE where it is to be expected, of 1,000 classes at ImageNet-C's severities; None elsewhere."""
    if variant != IMAGENET_C or info.num_classes != _CLASSES or beside_alexnet(info, variant):
        return None
    found = ", ".join(info.class_names[:3])
    return (
        f"no mCE: whether the {_CLASSES:,} classes of {info.name} are ImageNet's is not known, expected WordNet ids "
        f"(n01440764) or the numbers 0 to {_CLASSES - 1} in order as their names, found {found} and so on"
    )


def labels_of(source: Source) -> np.ndarray | None:
    """Labels (n,) of a source in its order, None if they are known only by reading every image."""
    if isinstance(source, ArraySource):
        return np.asarray(source.labels, np.int64)
    if isinstance(source, ImageSource) and isinstance(source.records, FolderRecords):
        return np.array(source.records.labels, np.int64)
    return None
