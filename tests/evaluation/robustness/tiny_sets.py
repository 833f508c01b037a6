"""Sets of CIFAR-10's and of ImageNet's form with a few random images."""

import numpy as np

from bnn_jax.data import Splits, from_arrays
from bnn_jax.data.cifar import CLASS_NAMES


def tiny_cifar() -> Splits:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (24, 32, 32, 3), np.uint8), np.arange(24) % 10
    return from_arrays(images[:16], labels[:16], images[16:], labels[16:], 10, name="cifar10", class_names=CLASS_NAMES)


def tiny_photographs() -> Splits:
    """Of 1,000 classes, named otherwise than ImageNet's."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (4, 72, 72, 3), np.uint8), np.arange(4)
    names = tuple(f"class {i}" for i in range(1000))
    return from_arrays(images[:2], labels[:2], images[2:], labels[2:], 1000, name="photographs", class_names=names)
