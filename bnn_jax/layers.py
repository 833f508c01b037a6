"""Flax layers over the binarizers: convolution and dense layers, and what stands between them.

A layer without binarizers is the ordinary full-precision one with the same parameter names, so that a
float teacher is the same network with nothing binarized.

Variables live in three collections: `params`, `batch_stats` (running statistics) and `memory` (what
weight binarizers remember). In training, apply with `mutable=["batch_stats", "memory"]`. A fourth, `binary`, is only
ever passed in: a layer that finds a code and a scale of its own there multiplies with those, and binarizes nothing.

A layer only quantizes. What a weight binarizer does around the step (`project`, `penalty`, `update`) is for the train
step; `bnn_jax.training.latent` does it for all layers of a network.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

from bnn_jax.binarizers import ActivationBinarizer, WeightBinarizer
from bnn_jax.binarizers.base import Progress
from bnn_jax.ops import convolution
from bnn_jax.ops.batch_norm import batch_norm
from bnn_jax.ops.precision import wide

Initializer = Callable[..., Array]
MEMORY = "memory"
BINARY = "binary"

# Untruncated, as in the papers' framework: Flax's he_normal is a truncated normal.
INITIALIZERS: dict[str, Initializer] = {
    "he_normal": nn.initializers.variance_scaling(2.0, "fan_in", "normal"),
    "he_normal_fan_out": nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
    "uniform_fan_in": nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform"),
    "normal_0.01": nn.initializers.normal(0.01),
}


class _Binarizable(nn.Module):
    """What convolution and dense layers share: a kernel and inputs which may be binary."""

    features: int
    weights: WeightBinarizer | None = None
    activations: ActivationBinarizer | None = None
    kernel_init: Initializer = INITIALIZERS["he_normal"]

    def _inputs(self, x: Array, progress: Progress) -> Array:
        if self.activations is None:
            return x
        initial = self.activations.init_params(x.shape[-1])
        learned = {name: self.param(f"input_{name}", lambda _, v=value: v) for name, value in initial.items()}
        return self.activations.apply(x, learned, progress=progress)

    def _kernel(self, shape: tuple[int, ...], train: bool, progress: Progress) -> tuple[Array, Array | None]:
        """The kernel to multiply with and its scale per channel (None for full-precision weights)."""
        if self.weights is not None and self.has_variable(BINARY, "code"):
            return self.get_variable(BINARY, "code"), self.get_variable(BINARY, "scale")
        kernel = self.param("kernel", self.kernel_init, shape)
        if self.weights is None:
            return kernel, None
        weights = self.weights
        names = jax.eval_shape(weights.init_params, kernel)
        learned = {name: self.param(name, lambda _, n=name: weights.init_params(kernel)[n]) for name in names}
        if not jax.eval_shape(weights.init_memory, kernel):
            return weights.quantize(kernel, learned, {}, train=train, progress=progress)[0]
        memory = self.variable(MEMORY, "binarizer", weights.init_memory, kernel)
        binary, moved = weights.quantize(kernel, learned, memory.value, train=train, progress=progress)
        if train and not self.is_initializing() and self.is_mutable_collection(MEMORY):
            memory.value = lax.stop_gradient(moved)
        return binary


class BinaryConv(_Binarizable):
    """2-D convolution, NHWC and HWIO, of binary (or full-precision) inputs and weights. No bias.

    With a weight binarizer: y = conv(x_b, code) * scale, exactly two weight values per output channel.

    Attributes:
      features: Output channels.
      weights: Weight binarizer, or None for full-precision weights.
      activations: Activation binarizer, or None to convolve the inputs as they are.
      kernel_init: Initializer of the latent kernel `(kh, kw, in, features)`.
      kernel_size: `(kh, kw)`.
      strides: `(sh, sw)`.
      padding: Rows and columns added on each side, `(ph, pw)`, after binarization.
      padding_value: What is padded: 0 as all the papers do, which makes border inputs ternary, or +1 / -1,
        which keeps them binary.
    """

    kernel_size: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    padding_value: float = 0.0

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False, progress: Progress = 0.0) -> Array:
        """Convolves `x`, (batch, height, width, channels), any floating dtype."""
        if x.ndim != 4:
            raise ValueError(f"BinaryConv needs inputs (batch, height, width, channels), found shape {x.shape}")
        x = self._inputs(x, progress)
        kernel, scale = self._kernel((*self.kernel_size, x.shape[-1], self.features), train, progress)
        (ph, pw), padding = self.padding, [(p, p) for p in self.padding]
        if self.padding_value:
            x = jnp.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0)), constant_values=self.padding_value)
            padding = [(0, 0), (0, 0)]
        if scale is None:
            return convolution.conv(x, kernel, self.strides, padding)
        binary_inputs = self.activations is not None
        return convolution.binary_conv(x, kernel, scale, self.strides, padding, binary_inputs=binary_inputs)


class BinaryDense(_Binarizable):
    """Dense layer over the last axis, of binary (or full-precision) inputs and weights.

    Attributes:
      features: Output features.
      weights: Weight binarizer, or None for full-precision weights.
      activations: Activation binarizer, or None to use the inputs as they are.
      kernel_init: Initializer of the latent kernel `(in, features)`.
      use_bias: Whether to add a full-precision bias, drawn from U(-1/sqrt(in), 1/sqrt(in)).
      zero_bias: Whether that bias starts at zero instead.
    """

    use_bias: bool = True
    zero_bias: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False, progress: Progress = 0.0) -> Array:
        """Maps `x`, (..., in), to (..., features)."""
        x = self._inputs(x, progress)
        kernel, scale = self._kernel((x.shape[-1], self.features), train, progress)
        dtype = jnp.promote_types(x.dtype, kernel.dtype)
        y = jnp.matmul(x.astype(dtype), kernel.astype(dtype), precision=lax.Precision.HIGHEST)
        if scale is not None:
            y = y * jnp.expand_dims(scale, range(y.ndim - 1))
        if not self.use_bias:
            return y
        bound = 0.0 if self.zero_bias else x.shape[-1] ** -0.5
        bias = self.param("bias", lambda key: jax.random.uniform(key, (self.features,), minval=-bound, maxval=bound))
        return y + jnp.expand_dims(bias, range(y.ndim - 1))


class BatchNorm(nn.Module):
    """Batch normalization with statistics over the whole global batch, in float32.

    Flax's own keeps the biased variance in its running average; the papers' networks keep the unbiased
    one, which matters in evaluation when the batch or the feature map is small.

    Attributes:
      axis_name: The pmap or vmap axis over which the batch is split, if any.
      momentum: Weight of the old running statistics.
      epsilon: Added to the variance.
      scale_init: Initial value of the scale.
    """

    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5
    scale_init: float = 1.0

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """Normalizes `x`, (batch, ..., channels), per channel; running statistics when not `train`."""
        shape = x.shape[-1:]
        scale = self.param("scale", nn.initializers.constant(self.scale_init), shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape)
        values = wide(x)
        if not train:
            factor = scale * lax.rsqrt(running_var.value + self.epsilon)
            offset = bias - running_mean.value * factor
            return (values * _spread(factor, x) + _spread(offset, x)).astype(x.dtype)
        axis_name = None if self.is_initializing() else self.axis_name
        y, statistics = batch_norm(values, scale, bias, epsilon=self.epsilon, axis_name=axis_name)
        if not self.is_initializing() and self.is_mutable_collection("batch_stats"):
            count = x.size // x.shape[-1] * (lax.axis_size(axis_name) if axis_name else 1)
            unbiased = statistics.var * (count / max(count - 1, 1))
            running_mean.value = self.momentum * running_mean.value + (1 - self.momentum) * statistics.mean
            running_var.value = self.momentum * running_var.value + (1 - self.momentum) * unbiased
        return y.astype(x.dtype)


def _spread(v: Array, x: Array) -> Array:
    return jnp.expand_dims(v, range(x.ndim - 1))
