"""A residual network of any depth, width and kind of block."""

from dataclasses import replace

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from bnn_jax.binarizers.base import Progress
from bnn_jax.layers import INITIALIZERS, BinaryDense
from bnn_jax.models.blocks import Block
from bnn_jax.models.parts import Parts
from bnn_jax.nonlinearities import Activation


class ResNet(nn.Module):
    """Stem, stages of residual blocks, global average pool, classifier; see the factories in `bnn_jax.models.resnet`.

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
