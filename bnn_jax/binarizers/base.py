"""The two records every method is made of: how weights, and how activations, become binary.

A record holds pure functions, as optax's `GradientTransformation` does. Layers, the train step, the
optimizer's masks, the summary and the telemetry know these records and no method by name; a new method
is one file which returns one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from bnn_jax.ops.precision import wide

Params = Mapping[str, Array]
Memory = Mapping[str, Array]
Progress = float | Array


class Binary(NamedTuple):
    """A binarized weight, in two parts whose product is what the layer multiplies with.

    Attributes:
      code: Values in {-1, +1}, shape of the weight, floating dtype.
      scale: One factor per output channel, shape `(features,)`, float32 or wider.
    """

    code: Array
    scale: Array

    @property
    def weight(self) -> Array:
        """The product `code * scale`, shape of the code."""
        return self.code * jnp.expand_dims(self.scale, range(self.code.ndim - 1))


class Gradients(NamedTuple):
    """Gradients of the loss over the whole batch, for one layer.

    Attributes:
      weight: With respect to the latent weight.
      params: With respect to what the method learns.
      code: With respect to the code, through the layer alone (no penalty): the gradient with respect to the product
        `code * scale`, times the scale. None unless the record `needs_code_gradient`.
    """

    weight: Array
    params: Params
    code: Array | None = None


def _no_params(w: Array) -> Params:
    del w
    return {}


def _no_projection(w: Array, *, progress: Progress) -> Array:
    del progress
    return w


def _no_penalty(w: Array, params: Params, memory: Memory, *, progress: Progress) -> Array:
    del params, memory, progress
    return jnp.zeros((), w.dtype)


def _same_memory(memory: Memory, old: tuple[Array, Params], new: tuple[Array, Params], grads: Gradients) -> Memory:
    del old, new, grads
    return memory


@dataclass(frozen=True)
class WeightBinarizer:
    """How one method binarizes a weight `w` of shape `(..., features)`, filters along the last axis.

    Every function is pure and traceable. `params` is what the method learns beside `w` (by gradient),
    `memory` what it remembers from step to step (no gradient); both are flat dicts of arrays, possibly
    empty. `progress` is the fraction of the run that is over, in [0, 1), and may be traced.

    Attributes:
      name: For summaries and messages.
      quantize: `(w, params, memory, *, train, progress) -> (Binary, memory)`. The forward pass;
        differentiable in `w` and `params`. `train` is a Python bool.
      init_params: `w -> params`.
      init_memory: `w -> memory`.
      project: `(w, *, progress) -> w`. Applied to the latent weight before each train step, outside of
        differentiation; the optimizer updates the projected weight.
      penalty: `(w, params, memory, *, progress) -> scalar`. What the method adds to the loss.
      update: `(memory, old, new, grads) -> memory` with `old`, `new` pairs `(w, params)` before and after
        the optimizer's update and `grads` their `Gradients`, averaged over all devices. Applied after each
        train step.
      needs_code_gradient: Whether `update` is to see the gradient with respect to the code. The train step then
        binarizes outside of the layers and differentiates with respect to the code: its gradient is what devices
        average, in place of the latent weight's, which follows from it. A model that reads such a layer's parameters
        itself does not find them in training.
    """

    name: str
    quantize: Callable[..., tuple[Binary, Memory]]
    init_params: Callable[[Array], Params] = _no_params
    init_memory: Callable[[Array], Memory] = _no_params
    project: Callable[..., Array] = _no_projection
    penalty: Callable[..., Array] = _no_penalty
    update: Callable[..., Memory] = _same_memory
    needs_code_gradient: bool = False

    def apply(
        self,
        w: Array,
        params: Params | None = None,
        memory: Memory | None = None,
        *,
        train: bool = True,
        progress: Progress = 0.0,
    ) -> Array:
        """The binarized weight `code * scale`, differentiable in `w` and `params`.

        Args:
          w: Latent weight, `(..., features)`: HWIO for convolutions, `(in, out)` for dense layers.
          params: What the method learns; by default `init_params(w)`.
          memory: What the method remembers; by default `init_memory(w)`.
          train: Whether this is a training step (a method may keep its code frozen in evaluation).
          progress: Fraction of the training run that is over.

        Returns:
          Array of the shape of `w` with two values, -scale and +scale, in each output channel.
        """
        params = self.init_params(w) if params is None else params
        memory = self.init_memory(w) if memory is None else memory
        binary, _ = self.quantize(w, params, memory, train=train, progress=progress)
        return binary.weight


@dataclass(frozen=True)
class ActivationBinarizer:
    """How one method binarizes activations `x` of shape `(batch, ..., channels)`.

    Attributes:
      name: For summaries and messages.
      apply: `(x, params, *, progress) -> x_b` with values in {-1, +1}, differentiable.
      init_params: `channels -> params`, what it learns (ReActNet's shifts, say), as arrays.
    """

    name: str
    apply: Callable[..., Array]
    init_params: Callable[[int], Params] = lambda channels: {}


def scale_of(params: Params, w: Array, *, caller: str) -> Array:
    """The learned scale, `params["scale"]`, as it is, refusing one of another weight.

    Raises:
      ValueError: If there is none, or its shape is not `(features,)`.
    """
    if "scale" not in params:
        raise ValueError(f"{caller} needs params with a scale, found {sorted(params)}: make them with init_params(w)")
    scale = params["scale"]
    if scale.shape != w.shape[-1:]:
        raise ValueError(
            f"{caller} needs a scale {w.shape[-1:]}, one factor per output channel of the weight {w.shape}, found "
            f"{scale.shape}: are the params those of another weight?"
        )
    return scale


def filters(w: Array, *, caller: str) -> Array:
    """Reshapes `(..., features)` to `(n, features)` in float32, refusing what has no statistics.

    Raises:
      ValueError: If `w` has fewer than two dimensions, or a filter fewer than two weights.
      TypeError: If `w` is not floating point.
    """
    if not jnp.issubdtype(w.dtype, jnp.floating):
        raise TypeError(f"{caller} needs floating-point weights, found {w.dtype}")
    if w.ndim < 2:
        raise ValueError(f"{caller} needs a weight (..., features) of two or more dimensions, found shape {w.shape}")
    n = w.size // max(w.shape[-1], 1)
    if n < 2:
        raise ValueError(
            f"{caller} needs two or more weights per filter, found shape {w.shape} with {n}: "
            "leave this layer in full precision"
        )
    return wide(w).reshape(n, w.shape[-1])
