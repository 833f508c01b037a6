"""Residual blocks and their shortcuts."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from bnn_jax.binarizers.base import Progress
from bnn_jax.models.parts import Parts

SKIPS = ("single", "double")
SHORTCUTS = ("pad", "conv", "binary_conv", "pool_conv")


class Shortcut(nn.Module):
    """Brings the input of a block to the shape of its output.

    Attributes:
      features: Channels of the output.
      stride: 1 or 2.
      kind: "pad" (subsample, zero channels on both sides: option A of He et al. 2016, no parameters),
        "conv" (1x1 full precision, batch norm), "binary_conv" (1x1 binary, batch norm) or "pool_conv"
        (2x2 average pool, 1x1 full precision, batch norm).
      parts: See `Parts`.
    """

    features: int
    stride: int
    kind: str
    parts: Parts

    @nn.compact
    def __call__(self, x: Array, *, train: bool, progress: Progress) -> Array:
        """Maps (batch, height, width, channels) to (batch, height / stride, width / stride, features)."""
        if self.stride == 1 and x.shape[-1] == self.features:
            return x
        if self.kind == "pad":
            missing = self.features - x.shape[-1]
            x = x[:, :: self.stride, :: self.stride]
            return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (missing // 2, missing - missing // 2)))
        stride = self.stride
        if self.kind == "pool_conv" and stride > 1:
            x, stride = nn.avg_pool(x, (stride, stride), (stride, stride)), 1
        conv = self.parts.conv(self.features, 1, stride, "conv", binary=self.kind == "binary_conv")
        return self.parts.norm("norm")(conv(x, train=train, progress=progress), train=train)


class Block(nn.Module):
    """Two binary 3x3 convolutions with one skip around both ("single") or one around each ("double").

    double:  y = act(norm(conv1(x)) + shortcut(x));   out = act(norm(conv2(y)) + y)       (Bi-Real Net)
    single:  y = act(norm(conv1(x)));                 out = act(norm(conv2(y)) + shortcut(x))

    Attributes:
      features: Output channels.
      stride: Stride of the first convolution.
      skip: "single" or "double".
      shortcut: Kind of `Shortcut` where the shape changes.
      parts: See `Parts`.
    """

    features: int
    stride: int
    skip: str
    shortcut: str
    parts: Parts

    @nn.compact
    def __call__(self, x: Array, *, train: bool, progress: Progress) -> Array:
        """Maps (batch, height, width, channels) to (batch, height / stride, width / stride, features)."""
        p = self.parts
        identity = Shortcut(self.features, self.stride, self.shortcut, p, name="shortcut")(
            x, train=train, progress=progress
        )
        y = p.conv(self.features, 3, self.stride, "conv1", binary=True)(x, train=train, progress=progress)
        y = p.norm("norm1")(y, train=train)
        y = p.act("act1")(y + identity if self.skip == "double" else y)
        z = p.conv(self.features, 3, 1, "conv2", binary=True)(y, train=train, progress=progress)
        z = p.norm("norm2")(z, train=train)
        return p.act("act2")(z + (y if self.skip == "double" else identity))
