"""A set of CIFAR-10's form with a few random images."""

import numpy as np

from bnn_jax.data import Splits, from_arrays
from bnn_jax.data.cifar import CLASS_NAMES


def tiny_cifar() -> Splits:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (24, 32, 32, 3), np.uint8), np.arange(24) % 10
    return from_arrays(images[:16], labels[:16], images[16:], labels[16:], 10, name="cifar10", class_names=CLASS_NAMES)
