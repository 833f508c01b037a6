"""IR-Net: balanced, standardized weights and a sign whose gradient sharpens (Qin et al., CVPR 2020, arXiv 1909.10788).

Weights (Libra parameter binarization), per filter of n weights:

    s = (w - mean w) / std w              unbiased; the gradient flows through both
    p = 2^round(log2(mean |s|))           half to even; constant for the gradient
    w_b = p sign(s)

Weights and activations pass their gradient through the error decay estimator, slope k t (1 - tanh(t x)^2), whose
t grows over the run: close to the identity at first, close to the true derivative of sign at the end.
"""

from functools import cache

import jax.numpy as jnp
from jax import Array, lax

from bnn_jax import ste
from bnn_jax.binarizers.base import ActivationBinarizer, Binary, Memory, Params, Progress, WeightBinarizer, filters
from bnn_jax.ops.standardize import standardize

# Only keeps constant filters finite: far below the variance of any filter that is trained.
EPS = 1e-16


def ede_schedule(progress: Progress, t_min: float = 1e-3, t_max: float = 10.0) -> tuple[Array, Array]:
    """The estimator's sharpness t = t_min (t_max / t_min)^progress and gain k = max(1 / t, 1).

    Args:
      progress: Fraction of the run that is over, in [0, 1), constant within an epoch; may be traced.
      t_min: At the start of the run.
      t_max: At the end of the run, which no epoch reaches.

    Returns:
      Scalars t and k.
    """
    low, high = jnp.log10(t_min), jnp.log10(t_max)
    t = 10.0 ** (low + (high - low) * progress)
    return t, jnp.maximum(1.0 / t, 1.0)


@cache
def irnet(t_min: float = 1e-3, t_max: float = 10.0) -> WeightBinarizer:
    """IR-Net's weight binarizer.

    Args:
      t_min: Sharpness of the gradient at the start of the run; 1e-1 for VGG-small.
      t_max: Sharpness at its end.

    Returns:
      The record; it learns and remembers nothing. A constant filter gives one value throughout, and finite
      gradients.

    Raises:
      ValueError: Unless 0 < t_min <= t_max.

    Example:
      >>> w_b = irnet().apply(w, progress=epoch / epochs)               # any (..., features) weight
    """
    _check(t_min, t_max)

    def quantize(w: Array, params: Params, memory: Memory, *, train: bool, progress: Progress) -> tuple[Binary, Memory]:
        del params, train
        flat = filters(w, caller="irnet")
        s = standardize(flat, axes=(0,), eps=EPS)
        t, k = ede_schedule(progress, t_min, t_max)
        code = ste.sign(s, gradient=ste.ede(t, k)).reshape(w.shape)
        return Binary(code, power_of_two_scale(s)), memory

    return WeightBinarizer("irnet", quantize)


@cache
def irnet_activations(t_min: float = 1e-3, t_max: float = 10.0) -> ActivationBinarizer:
    """IR-Net's activations: sign, with the error decay estimator for a gradient.

    Args and errors as `irnet`.
    """
    _check(t_min, t_max)

    def apply(x: Array, params: Params, *, progress: Progress) -> Array:
        del params
        return ste.sign(x, gradient=ste.ede(*ede_schedule(progress, t_min, t_max)))

    return ActivationBinarizer("sign, error decay", apply)


def power_of_two_scale(s: Array) -> Array:
    """2^round(log2(mean |s|)) of standardized filters, without gradient.

    Args:
      s: (n, features).

    Returns:
      (features,), powers of two. 1 for Gaussian or uniform filters, 1/2 for heavy tails.
    """
    # No filter of unit variance has less; a constant one, which has no variance, has no logarithm.
    mean = jnp.maximum(jnp.mean(jnp.abs(s), axis=0), s.shape[0] ** -0.5)
    exponent = jnp.round(jnp.log2(mean)).astype(jnp.int32)
    # Not exp2, which need not be exact.
    return lax.stop_gradient(jnp.ldexp(jnp.ones_like(mean), exponent))


def _check(t_min: float, t_max: float) -> None:
    if not 0 < t_min <= t_max:
        raise ValueError(f"the error decay estimator needs 0 < t_min <= t_max, found {t_min} and {t_max}")
