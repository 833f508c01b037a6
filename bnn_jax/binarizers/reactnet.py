"""ReActNet: sign with the mean magnitude as scale, and activations with a learned threshold (Liu et al., ECCV 2020).

Weights, per filter, the scale constant for the gradient (arXiv 2003.03488):

    w_b = mean|w| sign(w)              dL/dw = dL/dw_b where |w| <= 1, else 0

The gradient is *not* multiplied by the scale, as it would be by the chain rule: latent weights of any size move at one
pace. Activations, with one learned shift b per channel (RSign):

    x_b = sign(x + b)                  slope max(0, 2 - 2 |x + b|)
"""

from functools import cache

import jax.numpy as jnp
from jax import Array, lax
from jax.tree_util import Partial

from bnn_jax import ste
from bnn_jax.binarizers.base import ActivationBinarizer, Binary, Memory, Params, Progress, WeightBinarizer, filters


@cache
def reactnet() -> WeightBinarizer:
    """ReActNet's weight binarizer; it learns and remembers nothing.

    A filter of zeros has a scale of 1e-20 (float16: 6e-5), and passes its gradient on as any other.

    Example:
      >>> w_b = reactnet().apply(w)                                     # any (..., features) weight
    """

    def quantize(w: Array, params: Params, memory: Memory, *, train: bool, progress: Progress) -> tuple[Binary, Memory]:
        del params, train, progress
        scale = mean_magnitude(w, caller="reactnet")
        # The product with the scale multiplies the gradient by it again.
        slope = Partial(_clip_over, scale=jnp.expand_dims(scale, range(w.ndim - 1)))
        return Binary(ste.sign(w, gradient=slope), scale), memory

    return WeightBinarizer("reactnet", quantize)


def mean_magnitude(w: Array, *, caller: str) -> Array:
    """mean|w| of each filter, without gradient, and never so small that a gradient could not be divided by it.

    Args:
      w: (..., features).
      caller: For messages.

    Returns:
      (features,), float32 or wider.

    Raises:
      As `bnn_jax.binarizers.base.filters`.
    """
    mean = jnp.mean(jnp.abs(filters(w, caller=caller)), axis=0)
    return lax.stop_gradient(jnp.maximum(mean, max(1e-20, 4.0 / float(jnp.finfo(w.dtype).max))))


def _clip_over(w: Array, *, scale: Array) -> Array:
    return ste.clip(w) / scale


@cache
def rsign(gradient: str = "polynomial") -> ActivationBinarizer:
    """ReActNet's activations: the sign of inputs shifted by a learned amount per channel, at first 0.

    Args:
      gradient: Surrogate gradient of the sign, by its name in `bnn_jax.ste`.

    Raises:
      ValueError: For an unknown surrogate.
    """
    surrogate = ste.surrogate(gradient)

    def apply(x: Array, params: Params, *, progress: Progress) -> Array:
        del progress
        shift = jnp.expand_dims(params["shift"], range(x.ndim - 1))
        return ste.sign(x + shift.astype(x.dtype), gradient=surrogate)

    return ActivationBinarizer("shifted sign", apply, lambda channels: {"shift": jnp.zeros(channels)})
