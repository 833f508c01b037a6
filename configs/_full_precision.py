"""Full-precision networks for CIFAR-10 that several methods have as their teacher."""

from typing import Any

from bnn_jax import models
from bnn_jax.config import component


def resnet20() -> Any:
    """ResNet-20 as in He et al. (2016): single skips, shortcuts without parameters."""
    return component(models.resnet20, activation="relu", skip="single", head_norm=False)


def resnet18() -> Any:
    """ResNet-18 with a 3x3 stem: single skips, 1x1 convolutions as shortcuts."""
    return component(
        models.resnet18_cifar,
        activation="relu",
        stem_activation="relu",
        shortcut="conv",
        head_norm=False,
        conv_init="he_normal",
    )
