"""What a data set is here: two sources of examples, and a few facts about them; and arrays in memory as a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

__all__ = ["ArraySource", "DatasetInfo", "Source", "Splits", "array_source"]


@runtime_checkable
class Source(Protocol):
    """Anything with a length whose items are ``{"image": (H, W, C), "label": int}``.

    A source may also have ``gather(indices) -> {"image": (n, H, W, C), "label": (n,)}``; the pipeline then
    reads a whole batch with one call. And it may have
    ``draw(index, seed) -> {"image": (H, W, C), "label": int}``, a random view of an example which is a pure function
    of the index and of ``seed``, a tuple of integers; the pipeline then trains on that.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class DatasetInfo:
    """Facts about a data set that models and augmentation need.

    Attributes:
      name: short name, for logs and reports.
      num_classes: number of classes; labels are ``0 .. num_classes - 1``.
      image_shape: ``(H, W, C)`` of one image.
      mean: per-channel mean of pixels in ``[0, 1]`` units, length ``C``.
      std: per-channel standard deviation in the same units, length ``C``.
      class_names: one name per class, in label order.

    Raises:
      ValueError: if the fields do not agree with each other.
    """

    name: str
    num_classes: int
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        channels = self.image_shape[-1]
        for field, value in (("mean", self.mean), ("std", self.std)):
            if len(value) != channels:
                raise ValueError(
                    f"{self.name}: expected {field} with one value for each of the {channels} channels, "
                    f"found {len(value)}: {value}. Pass {channels} values."
                )
        if min(self.std) <= 0:
            raise ValueError(
                f"{self.name}: expected every std above 0, found {self.std}. Pass std explicitly "
                "if a channel of the training images is constant."
            )
        if len(self.class_names) != self.num_classes:
            raise ValueError(
                f"{self.name}: expected {self.num_classes} class names, found {len(self.class_names)}. "
                "Give one name per class, in label order."
            )


# Generated equality would compare arrays elementwise and then fail on their truth value.
@dataclass(frozen=True, eq=False)
class ArraySource:
    """Images and labels held in memory. Build it with :func:`array_source`, which checks them.

    Attributes:
      images: ``uint8 (N, H, W, C)``.
      labels: ``int32 (N,)``.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": self.images[index], "label": self.labels[index]}

    def gather(self, indices: npt.ArrayLike) -> dict[str, npt.NDArray[Any]]:
        """Copies the examples at ``indices (n,)``: image ``uint8 (n, H, W, C)``, label ``int32 (n,)``."""
        rows = np.asarray(indices)
        return {"image": self.images[rows], "label": self.labels[rows]}


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set: a training source, a test source and the facts common to both."""

    train: Source
    test: Source
    info: DatasetInfo


def array_source(
    images: npt.NDArray[Any], labels: npt.NDArray[Any], num_classes: int, where: str = "arrays"
) -> ArraySource:
    """Checks images and labels and wraps them, without copying the images.

    Args:
      images: ``uint8 (N, H, W, C)``, channels last.
      labels: integers ``(N,)`` in ``[0, num_classes)``; any integer dtype, kept as ``int32``.
      num_classes: number of classes.
      where: what the arrays are (a path, a split's name); begins every error message.

    Returns:
      The source.

    Raises:
      ValueError: if a dtype, a shape, the length or a label is not as described.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.dtype != np.uint8:
        raise ValueError(
            f"{where}: expected images of dtype uint8 (0..255), found {images.dtype}. Images are normalized "
            "on the device, so pass the raw bytes; for floats in [0, 1]: (255 * x).round().astype('uint8')."
        )
    if images.ndim != 4:
        raise ValueError(
            f"{where}: expected images of shape (N, H, W, C), found {images.shape}. "
            "Grayscale images need a last axis of 1: images[..., None]."
        )
    if images.shape[3] not in (1, 2, 3, 4) and images.shape[1] in (1, 3):
        raise ValueError(
            f"{where}: expected channels last, (N, H, W, C), found {images.shape}, which looks like "
            "channels first. Use images.transpose(0, 2, 3, 1)."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"{where}: expected integer labels, found {labels.dtype}. Use labels.astype('int32') "
            "(one-hot labels: labels.argmax(-1))."
        )
    if labels.ndim != 1 or len(labels) != len(images):
        raise ValueError(
            f"{where}: expected one label per image, shape ({len(images)},), found {labels.shape}. "
            "Pass images and labels of the same examples in the same order."
        )
    if images.size == 0:
        raise ValueError(
            f"{where}: expected at least one pixel, found images of shape {images.shape}. "
            "Check the folder or the slice that they come from."
        )
    wrong = (labels < 0) | (labels >= num_classes)
    if wrong.any():
        index = int(wrong.argmax())
        raise ValueError(
            f"{where}: expected labels in [0, {num_classes}), found {labels[index]} at index {index} "
            f"({int(wrong.sum())} in all). Correct the labels or num_classes."
        )
    return ArraySource(images, labels.astype(np.int32))
