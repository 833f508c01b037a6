"""Per-channel means and standard deviations: published ones, and measured ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["CIFAR10", "IMAGENET", "ChannelStats", "channel_stats", "choose"]

_CHUNK = 1024


class ChannelStats(NamedTuple):
    """Mean and standard deviation per channel, of pixels in ``[0, 1]`` units."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET = ChannelStats((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR10 = ChannelStats((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


def channel_stats(images: npt.NDArray[np.uint8]) -> ChannelStats:
    """Measures ``uint8 (N, H, W, C)`` images over all pixels, exactly and in little memory."""
    total = np.zeros(images.shape[-1])
    squares = np.zeros(images.shape[-1])
    for start in range(0, len(images), _CHUNK):
        pixels = images[start : start + _CHUNK].reshape(-1, images.shape[-1]).astype(np.float64)
        total += pixels.sum(axis=0)
        squares += np.square(pixels).sum(axis=0)
    count = images.size // images.shape[-1]
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - np.square(mean), 0))
    return ChannelStats(tuple((mean / 255).tolist()), tuple((std / 255).tolist()))


def choose(name: str, choices: Mapping[str, ChannelStats], where: str) -> ChannelStats:
    """Picks one of ``choices``.

    Raises:
      ValueError: if there is none of that name.
    """
    if name not in choices:
        raise ValueError(
            f"{where}: expected normalization to be one of {sorted(choices)}, found {name!r}. "
            "Choose one of these, or pass your own mean and std through from_arrays."
        )
    return choices[name]
