"""VGG-small for CIFAR."""

from dataclasses import replace

import flax.linen as nn
from jax import Array

from bnn_jax.binarizers import ActivationBinarizer, WeightBinarizer
from bnn_jax.binarizers.base import Progress
from bnn_jax.layers import INITIALIZERS, BinaryDense
from bnn_jax.models.parts import Parts

# Output channels of each convolution, and whether a 2x2 max pool follows it.
LAYOUT = ((128, False), (128, True), (256, False), (256, True), (512, False), (512, True))


class VGGSmall(nn.Module):
    """Six 3x3 convolutions, all but the first binary, and one dense layer.

    Each convolution is followed by its pool (if any), batch norm and the non-linearity.

    Attributes:
      num_classes: Outputs of the classifier.
      dense_init: Initializer of the classifier's kernel, a key of `bnn_jax.layers.INITIALIZERS`.
      parts: See `Parts`.
    """

    num_classes: int
    dense_init: str
    parts: Parts

    def over_axis(self, name: str) -> "VGGSmall":
        """The same network, its batch norms reducing over the mapped axis `name` in training."""
        return self.clone(parts=replace(self.parts, axis_name=name))

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False, progress: Progress = 0.0) -> tuple[Array, dict[str, Array]]:
        """Classifies images.

        Args:
          x: Images, (batch, height, width, channels), floating point; height and width divisible by 8.
          train: Whether to use batch statistics and move running statistics and memory.
          progress: Fraction of the training run that is over, scalar, may be traced.

        Returns:
          Logits (batch, num_classes), and features by name: "stem", "stage1" to "stage3" (after each pool).
        """
        features, stage = {}, 0
        for i, (width, pool) in enumerate(LAYOUT):
            x = self.parts.conv(width, 3, 1, f"conv{i}", binary=i > 0)(x, train=train, progress=progress)
            if pool:
                x = nn.max_pool(x, (2, 2), (2, 2))
            x = self.parts.act(f"act{i}")(self.parts.norm(f"norm{i}")(x, train=train))
            stage += pool
            if pool or i == 0:
                features[f"stage{stage}" if pool else "stem"] = x
        dense = BinaryDense(
            self.num_classes, kernel_init=INITIALIZERS[self.dense_init], zero_bias=True, name="classifier"
        )
        return dense(x.reshape(x.shape[0], -1)), features


def vgg_small(
    num_classes: int,
    weights: WeightBinarizer | None = None,
    activations: ActivationBinarizer | None = None,
    activation: str = "prelu",
    conv_init: str = "he_normal_fan_out",
    dense_init: str = "normal_0.01",
    padding_value: float = 0.0,
) -> VGGSmall:
    """VGG-small for 32x32 images: 128-128-256-256-512-512, 5 binary convolutions.

    Args:
      num_classes: Outputs of the classifier.
      weights: Weight binarizer; None for full precision.
      activations: Activation binarizer; None for full precision.
      activation: Non-linearity, see `bnn_jax.nonlinearities.Activation`.
      conv_init: Initializer of convolutions, a key of `bnn_jax.layers.INITIALIZERS`.
      dense_init: Initializer of the classifier.
      padding_value: What binary convolutions pad with: 0, +1 or -1.
    """
    parts = Parts(weights, activations, activation, conv_init, padding_value=padding_value)
    return VGGSmall(num_classes, dense_init, parts)
