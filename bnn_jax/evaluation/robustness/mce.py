"""The arithmetic of robustness: mean error, mean corruption error, and how sure they are.

With E_cs the top-1 error under corruption c at severity s, E the clean error and A AlexNet's (Hendrycks and Dietterich,
ICLR 2019, arXiv 1903.12261):

    mean error      mean over c and s of E_cs
    CE_c            sum_s E_cs / sum_s A_cs,                  mCE          its mean over the 15 corruptions
    relative CE_c   sum_s (E_cs - E) / sum_s (A_cs - A),      relative mCE its mean

All of them are means over images of a number of each image, so that resampling images is all it takes to know how far
they would move with other images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

# Top-1 error of torchvision's AlexNet, whose weights give accuracy 56.522 %. The paper prints 43.5 % and names no more
# digits; torchvision's documentation said 43.45 % at that time, of the same weights.
ALEXNET_CLEAN = 0.43478
# The same network's top-1 errors on ImageNet-C's files, means over the five severities: those its authors give with the
# released programs, by which mCE is computed everywhere.
ALEXNET: Mapping[str, float] = MappingProxyType(
    {
        "gaussian_noise": 0.886428,
        "shot_noise": 0.894468,
        "impulse_noise": 0.922640,
        "defocus_blur": 0.819880,
        "glass_blur": 0.826268,
        "motion_blur": 0.785948,
        "zoom_blur": 0.798360,
        "snow": 0.866816,
        "frost": 0.826572,
        "fog": 0.819324,
        "brightness": 0.564592,
        "contrast": 0.853204,
        "elastic_transform": 0.646056,
        "pixelate": 0.717840,
        "jpeg_compression": 0.606500,
    }
)


def mean_error(errors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Mean over corruptions of the mean over severities.

    Args:
      errors: of each corruption, (5, ...): shares, or 0 and 1 of each image.

    Returns:
      (...).
    """
    return np.mean([error.mean(0) for error in errors.values()], axis=0)


def corruption_error(name: str, errors: np.ndarray) -> np.ndarray:
    """CE of one corruption, 1 where as many errors are made as by AlexNet.

    Args:
      name: of the corruption.
      errors: (5, ...).

    Returns:
      (...).

    Raises:
      KeyError: if it is none of AlexNet's 15.
    """
    return errors.mean(0) / ALEXNET[name]


def relative_corruption_error(name: str, errors: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Relative CE of one corruption: what it adds to the clean error, 1 where it adds as much as to AlexNet's.

    Args:
      name: of the corruption.
      errors: (5, ...).
      clean: error on clean images, (...).

    Returns:
      (...).

    Raises:
      KeyError: if it is none of AlexNet's 15.
    """
    return (errors.mean(0) - clean) / (ALEXNET[name] - ALEXNET_CLEAN)


def mce(errors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Mean corruption error over AlexNet's 15 corruptions; others are passed over.

    Args:
      errors: of each corruption, (5, ...): shares, or 0 and 1 of each image.

    Returns:
      (...).

    Raises:
      KeyError: if one of the 15 is not there; has its name.
    """
    return np.mean([corruption_error(name, errors[name]) for name in ALEXNET], axis=0)


def relative_mce(errors: Mapping[str, np.ndarray], clean: np.ndarray) -> np.ndarray:
    """Relative mean corruption error over AlexNet's 15 corruptions; others are passed over.

    Args:
      errors: of each corruption, (5, ...): shares, or 0 and 1 of each image.
      clean: error on clean images, (...).

    Returns:
      (...).

    Raises:
      KeyError: if one of the 15 is not there; has its name.
    """
    return np.mean([relative_corruption_error(name, errors[name], clean) for name in ALEXNET], axis=0)


def intervals(
    values: Sequence[np.ndarray], *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> list[tuple[float, float]]:
    """Bootstrap confidence intervals of means over images.

    Each resample draws as many images as there are, with replacement, the same ones for every quantity; the interval
    holds the middle of its means.

    Args:
      values: a number of each image, (images,), for each quantity.
      level: share of the means that an interval holds.
      resamples: how many.
      seed: of the draws.

    Returns:
      The two ends of each quantity's interval.
    """
    table = np.stack(values, axis=1).astype(np.float64)
    images, rng = len(table), np.random.default_rng(seed)
    means = np.empty((resamples, table.shape[1]))
    for i in range(resamples):
        means[i] = np.bincount(rng.integers(0, images, images), minlength=images) @ table / images
    ends = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return [(float(low), float(high)) for low, high in ends.T]
