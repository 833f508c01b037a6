"""The handwritten digits that come inside scikit-learn: needs no download, trains in seconds."""

from __future__ import annotations

import numpy as np

from bnn_jax.data.in_memory import from_arrays
from bnn_jax.data.order import stratified
from bnn_jax.data.source import Splits

__all__ = ["digits"]

_SIDE = 8
_LARGEST_VALUE = 16


def digits(test_fraction: float = 0.2, seed: int = 0, image_size: int = 8) -> Splits:
    """1,797 grayscale digits, split at random with the classes in equal proportions.

    Args:
      test_fraction: part of every class that is kept for testing, above 0 and below 1.
      seed: of the split; the same seed gives the same split on every machine.
      image_size: 8 as they are, or a multiple of it, enlarged by repeating pixels.

    Returns:
      Splits of ``uint8 (N, image_size, image_size, 1)`` images in 10 classes.

    Raises:
      ValueError: if an argument is out of its range.
    """
    if not 0 < test_fraction < 1:
        raise ValueError(f"digits: expected test_fraction above 0 and below 1, found {test_fraction}. 0.2 is usual.")
    if image_size < _SIDE or image_size % _SIDE:
        raise ValueError(
            f"digits: expected image_size to be a multiple of {_SIDE}, found {image_size}. "
            f"Use {_SIDE}, {2 * _SIDE} or {4 * _SIDE}."
        )
    from sklearn.datasets import load_digits  # type: ignore[import-untyped,unused-ignore]

    raw = load_digits()
    labels = raw.target.astype(np.int32)
    images = np.rint(raw.images * (255 / _LARGEST_VALUE)).astype(np.uint8)[..., None]
    images = images.repeat(image_size // _SIDE, axis=1).repeat(image_size // _SIDE, axis=2)
    # Both splits need every class, however extreme the fraction.
    sizes = np.bincount(labels)
    is_test = stratified(labels, np.clip(np.rint(sizes * test_fraction).astype(int), 1, sizes - 1), seed)
    return from_arrays(images[~is_test], labels[~is_test], images[is_test], labels[is_test], 10, name="digits")
