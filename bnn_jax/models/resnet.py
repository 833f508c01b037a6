"""Residual networks for CIFAR and ImageNet, as one family."""

from typing import Any

from bnn_jax.binarizers import ActivationBinarizer, WeightBinarizer
from bnn_jax.models.blocks import SHORTCUTS, SKIPS
from bnn_jax.models.parts import Parts
from bnn_jax.models.residual import ResNet


def _resnet(
    num_classes: int,
    stages: tuple[int, ...],
    widths: tuple[int, ...],
    stem: str,
    dense_init: str,
    *,
    skip: str,
    shortcut: str,
    stem_activation: str,
    head_norm: bool,
    **parts: Any,
) -> ResNet:
    if skip not in SKIPS:
        raise ValueError(f"unknown skip {skip!r}: expected one of {SKIPS}")
    if shortcut not in SHORTCUTS:
        raise ValueError(f"unknown shortcut {shortcut!r}: expected one of {SHORTCUTS}")
    return ResNet(
        num_classes,
        stages,
        widths,
        skip,
        shortcut,
        stem,
        stem_activation,
        head_norm,
        dense_init,
        Parts(**parts),
    )


def resnet20(
    num_classes: int,
    weights: WeightBinarizer | None = None,
    activations: ActivationBinarizer | None = None,
    activation: str = "prelu",
    skip: str = "double",
    shortcut: str = "pad",
    stem_activation: str = "relu",
    head_norm: bool = True,
    conv_init: str = "he_normal",
    dense_init: str = "he_normal",
    padding_value: float = 0.0,
    width: int = 16,
) -> ResNet:
    """ResNet-20 for 32x32 images (any size divisible by 4): 3 stages of 3 blocks, 18 binary convolutions.

    Args:
      num_classes: Outputs of the classifier.
      weights: Weight binarizer; None for full precision.
      activations: Activation binarizer; None for full precision.
      activation: Non-linearity in the blocks, see `bnn_jax.nonlinearities.Activation`.
      skip: "double" or "single".
      shortcut: "pad", "conv", "binary_conv" or "pool_conv".
      stem_activation: Non-linearity after the stem.
      head_norm: Batch norm before the classifier.
      conv_init: Initializer of convolutions, a key of `bnn_jax.layers.INITIALIZERS`.
      dense_init: Initializer of the classifier.
      padding_value: What binary convolutions pad with: 0, +1 or -1.
      width: Channels of the first stage, doubled in each further one.
    """
    return _resnet(
        num_classes,
        (3, 3, 3),
        (width, 2 * width, 4 * width),
        "conv3x3",
        dense_init,
        skip=skip,
        shortcut=shortcut,
        stem_activation=stem_activation,
        head_norm=head_norm,
        weights=weights,
        activations=activations,
        activation=activation,
        conv_init=conv_init,
        padding_value=padding_value,
    )


def resnet18_cifar(
    num_classes: int,
    weights: WeightBinarizer | None = None,
    activations: ActivationBinarizer | None = None,
    activation: str = "hardtanh",
    skip: str = "single",
    shortcut: str = "binary_conv",
    stem_activation: str = "none",
    head_norm: bool = True,
    conv_init: str = "uniform_fan_in",
    dense_init: str = "uniform_fan_in",
    padding_value: float = 0.0,
) -> ResNet:
    """ResNet-18 with a 3x3 stem for 32x32 images: 4 stages of 2 blocks, 16 (or 19) binary convolutions.

    Arguments as `resnet20`.
    """
    return _resnet(
        num_classes,
        (2, 2, 2, 2),
        (64, 128, 256, 512),
        "conv3x3",
        dense_init,
        skip=skip,
        shortcut=shortcut,
        stem_activation=stem_activation,
        head_norm=head_norm,
        weights=weights,
        activations=activations,
        activation=activation,
        conv_init=conv_init,
        padding_value=padding_value,
    )


def resnet_imagenet(
    num_classes: int,
    weights: WeightBinarizer | None = None,
    activations: ActivationBinarizer | None = None,
    depth: int = 18,
    activation: str = "prelu",
    skip: str = "double",
    shortcut: str = "conv",
    stem_activation: str = "relu",
    head_norm: bool = True,
    conv_init: str = "he_normal",
    dense_init: str = "uniform_fan_in",
    norm_scale: float = 1.0,
    padding_value: float = 0.0,
) -> ResNet:
    """ResNet-18 or 34 with a 7x7 stem for 224x224 images: 16 or 32 binary 3x3 convolutions.

    Further arguments as `resnet20`.

    Args:
      num_classes: Outputs of the classifier.
      weights: Weight binarizer; None for full precision.
      activations: Activation binarizer; None for full precision.
      depth: 18 or 34.
      activation: Non-linearity in the blocks.
      skip: "double" or "single".
      shortcut: "conv", "pool_conv", "binary_conv" or "pad".
      stem_activation: Non-linearity after the stem.
      head_norm: Batch norm before the classifier.
      conv_init: Initializer of convolutions.
      dense_init: Initializer of the classifier.
      norm_scale: Initial scale of every batch norm but the last (1e-8 starts with silent branches).
      padding_value: What binary convolutions pad with.
    """
    stages = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
    if depth not in stages:
        raise ValueError(f"unknown depth {depth}: expected one of {sorted(stages)}")
    return _resnet(
        num_classes,
        stages[depth],
        (64, 128, 256, 512),
        "conv7x7",
        dense_init,
        skip=skip,
        shortcut=shortcut,
        stem_activation=stem_activation,
        head_norm=head_norm,
        weights=weights,
        activations=activations,
        activation=activation,
        conv_init=conv_init,
        norm_scale=norm_scale,
        padding_value=padding_value,
    )
