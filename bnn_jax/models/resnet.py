"""Residual networks for CIFAR and ImageNet, as one family."""

from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from bnn_jax.binarizers import ActivationBinarizer, WeightBinarizer
from bnn_jax.binarizers.base import Progress
from bnn_jax.layers import INITIALIZERS, BinaryDense
from bnn_jax.models.blocks import SHORTCUTS, SKIPS, Block
from bnn_jax.models.parts import Parts
from bnn_jax.nonlinearities import Activation


class ResNet(nn.Module):
    """Stem, stages of residual blocks, global average pool, classifier; see the factories below.

    Stem, classifier, normalization and activations are full precision; the 3x3 convolutions of the blocks
    are binary where `parts` holds binarizers.

    Attributes:
      num_classes: Outputs of the classifier.
      stages: Blocks in each stage; stages after the first start with stride 2.
      widths: Channels of each stage.
      skip: "single" or "double", see `Block`.
      shortcut: Kind of `Shortcut` where the shape changes.
      stem: "conv3x3", or "conv7x7" with stride 2 and a 3x3 max pool of stride 2.
      stem_activation: Non-linearity of the stem (before the max pool).
      head_norm: Whether to batch-normalize the pooled features.
      dense_init: Initializer of the classifier's kernel, a key of `bnn_jax.layers.INITIALIZERS`.
      parts: See `Parts`.
    """

    num_classes: int
    stages: tuple[int, ...]
    widths: tuple[int, ...]
    skip: str
    shortcut: str
    stem: str
    stem_activation: str
    head_norm: bool
    dense_init: str
    parts: Parts

    def over_axis(self, name: str) -> "ResNet":
        """The same network, its batch norms reducing over the mapped axis `name` in training."""
        return self.clone(parts=replace(self.parts, axis_name=name))

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False, progress: Progress = 0.0) -> tuple[Array, dict[str, Array]]:
        """Classifies images.

        Args:
          x: Images, (batch, height, width, channels), floating point.
          train: Whether to use batch statistics and move running statistics and memory.
          progress: Fraction of the training run that is over, scalar, may be traced.

        Returns:
          Logits (batch, num_classes), and features by name: "stem", "stage1", ..., "pooled".
        """
        large = self.stem == "conv7x7"
        x = self.parts.conv(self.widths[0], 7 if large else 3, 2 if large else 1, "stem_conv", binary=False)(x)
        x = self.parts.norm("stem_norm")(x, train=train)
        x = Activation(self.stem_activation, name="stem_act")(x)
        if large:
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        features = {"stem": x}
        for i, (blocks, width) in enumerate(zip(self.stages, self.widths, strict=True), 1):
            for j in range(1, blocks + 1):
                stride = 2 if i > 1 and j == 1 else 1
                block = Block(width, stride, self.skip, self.shortcut, self.parts, name=f"stage{i}_block{j}")
                x = block(x, train=train, progress=progress)
            features[f"stage{i}"] = x
        x = jnp.mean(x, (1, 2))
        if self.head_norm:
            x = replace(self.parts, norm_scale=1.0).norm("head_norm")(x, train=train)
        features["pooled"] = x
        dense = BinaryDense(self.num_classes, kernel_init=INITIALIZERS[self.dense_init], name="classifier")
        return dense(x), features


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
