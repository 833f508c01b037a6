"""A data set from the user's own arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from bnn_jax.data.normalization import channel_stats
from bnn_jax.data.source import DatasetInfo, Splits, array_source

__all__ = ["from_arrays"]


def from_arrays(
    train_images: npt.NDArray[Any],
    train_labels: npt.NDArray[Any],
    test_images: npt.NDArray[Any],
    test_labels: npt.NDArray[Any],
    num_classes: int,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    name: str = "arrays",
    class_names: Sequence[str] | None = None,
) -> Splits:
    """Makes a data set of arrays, checking them.

    Args:
      train_images: ``uint8 (N, H, W, C)``.
      train_labels: integers ``(N,)`` in ``[0, num_classes)``.
      test_images: ``uint8 (M, H, W, C)``, of the same ``(H, W, C)``.
      test_labels: integers ``(M,)``.
      num_classes: number of classes.
      mean: per-channel mean in ``[0, 1]`` units; measured on the training images if None.
      std: per-channel standard deviation in the same units; measured likewise if None.
      name: short name for logs and error messages.
      class_names: one per class; "0", "1", ... if None.

    Returns:
      The splits.

    Raises:
      ValueError: if dtypes, shapes, lengths or labels are not as described.

    Example:
      >>> import numpy as np
      >>> images, labels = np.zeros((8, 4, 4, 1), np.uint8), np.arange(8) % 2
      >>> from_arrays(images, labels, images, labels, 2, mean=[0.5], std=[0.5]).info.image_shape
      (4, 4, 1)
    """
    train = array_source(train_images, train_labels, num_classes, f"{name}, train")
    test = array_source(test_images, test_labels, num_classes, f"{name}, test")
    height, width, channels = train.images.shape[1:]
    if test.images.shape[1:] != train.images.shape[1:]:
        raise ValueError(
            f"{name}: expected test images of the training images' shape {train.images.shape[1:]}, "
            f"found {test.images.shape[1:]}. Resize one of the two."
        )
    if mean is None or std is None:
        measured = channel_stats(train.images)
        mean = measured.mean if mean is None else mean
        std = measured.std if std is None else std
    info = DatasetInfo(
        name=name,
        num_classes=num_classes,
        image_shape=(height, width, channels),
        mean=tuple(mean),
        std=tuple(std),
        class_names=tuple(map(str, range(num_classes)) if class_names is None else class_names),
    )
    return Splits(train, test, info)
