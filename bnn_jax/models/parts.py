"""What a network is made of, apart from its topology."""

from dataclasses import dataclass

from bnn_jax.binarizers import ActivationBinarizer, WeightBinarizer
from bnn_jax.layers import INITIALIZERS, BatchNorm, BinaryConv
from bnn_jax.nonlinearities import Activation


@dataclass(frozen=True)
class Parts:
    """The parts that the blocks of a network share.

    Attributes:
      weights: Weight binarizer of the binary layers; None for full precision.
      activations: Activation binarizer of the binary layers; None for full precision.
      activation: Non-linearity between layers: "prelu", "rprelu", "hardtanh", "relu" or "none".
      conv_init: Initializer of the kernels, a key of `bnn_jax.layers.INITIALIZERS`.
      norm_scale: Initial scale of batch normalization.
      padding_value: What binary convolutions pad with: 0, +1 or -1.
      axis_name: The mapped axis over which the batch is split, if any.
    """

    weights: WeightBinarizer | None = None
    activations: ActivationBinarizer | None = None
    activation: str = "relu"
    conv_init: str = "he_normal"
    norm_scale: float = 1.0
    padding_value: float = 0.0
    axis_name: str | None = None

    def conv(self, features: int, size: int, stride: int, name: str, *, binary: bool) -> BinaryConv:
        """A square convolution, padded to keep the size at stride 1."""
        return BinaryConv(
            features,
            weights=self.weights if binary else None,
            activations=self.activations if binary else None,
            kernel_init=INITIALIZERS[self.conv_init],
            kernel_size=(size, size),
            strides=(stride, stride),
            padding=(size // 2, size // 2),
            padding_value=self.padding_value if binary else 0.0,
            name=name,
        )

    def norm(self, name: str) -> BatchNorm:
        """Batch normalization."""
        return BatchNorm(self.axis_name, scale_init=self.norm_scale, name=name)

    def act(self, name: str) -> Activation:
        """The non-linearity."""
        return Activation(self.activation, name=name)
