"""SiMaN: sign-to-magnitude binarization (Lin et al., TPAMI 2023, arXiv 2102.07981).

A filter's code does not say which weights are positive but which are large. Binarization is posed as
aligning the angle between |w| and a code b in {0, 1}^n,

    maximize cos(b, |w|) = b.|w| / (|b| |w|),

whose solution sets b = 1 on the m largest magnitudes. The code is trained and deployed as 2b - 1 in
{-1, +1}; the sign of a weight plays no role. Magnitudes are those of the standardized filter

    w~ = (w - mean w) / sqrt(var w + 1e-5)          (unbiased variance, exact Jacobian in the gradient)

and by default m = floor(n / 2): half ones, half zeros, so that each filter carries one bit per weight.
The gradient passes straight through the code to |w~|. A scale per output channel is learned.

Before each train step latent weights are centered and their magnitudes clipped between two percentiles of
the layer, q and 100 - q, with q falling linearly to 0 over the run (`project`). The code of the last train
step is remembered and used, frozen, in evaluation. (The release projects in evaluation passes too, which moves the
weights that training goes on from; here evaluation changes nothing.)

Without weight decay on the binarized weights nothing pulls them towards a Laplacian, whose best code would
hold fewer ones (1/e of them) and so less entropy; the recipes exempt them accordingly.
"""

from functools import cache

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from bnn_jax import ste
from bnn_jax.binarizers.base import (
    ActivationBinarizer,
    Binary,
    Memory,
    Params,
    Progress,
    WeightBinarizer,
    filters,
    scale_of,
)
from bnn_jax.ops import order
from bnn_jax.ops.precision import wide
from bnn_jax.ops.standardize import standardize, standardize_sign

EPS = 1e-5


def half_code(magnitude: Array) -> Array:
    """1 on the floor(n / 2) largest magnitudes of each filter, else 0; ties go to the lower index.

    Args:
      magnitude: `(..., features)`, floating point, filters along the last axis.

    Returns:
      Bool array of the same shape with exactly floor(n / 2) True in each filter.
    """
    flat = filters(magnitude, caller="half_code")
    return order.top_mask(flat, flat.shape[0] // 2).reshape(magnitude.shape)


def median_code(magnitude: Array) -> Array:
    """1 where a magnitude exceeds its filter's lower median, else 0: the released rule.

    Like `half_code` without ties; ties at the median all get 0, so a filter may hold fewer ones
    (none, if it is constant).
    """
    flat = filters(magnitude, caller="median_code")
    return order.above(flat, (flat.shape[0] - 1) // 2).reshape(magnitude.shape)


def angle_code(magnitude: Array) -> Array:
    """1 on the m* largest magnitudes, m* = argmax_m (sum of the m largest) / sqrt(m): maximal cosine.

    The exact maximizer of cos(b, |w|) over all non-zero codes; about n / e ones for a Laplacian filter,
    0.54 n for a Gaussian, 2n / 3 for a uniform one.
    """
    flat = filters(magnitude, caller="angle_code")
    sums = jnp.cumsum(jnp.sort(flat, axis=0, descending=True), axis=0)
    counts = jnp.arange(1, flat.shape[0] + 1, dtype=flat.dtype)
    best = jnp.argmax(sums / jnp.sqrt(counts)[:, None], axis=0) + 1
    return order.top_mask(flat, best).reshape(magnitude.shape)


CODE_RULES = {"half": half_code, "median": median_code, "angle": angle_code}


def magnitudes(w: Array) -> Array:
    """|w~|, the magnitudes of the standardized filters; float32 (or wider), shape of `w`."""
    flat = filters(w, caller="siman")
    standardized = standardize(flat, axes=(0,), eps=EPS)
    # Not jnp.abs, whose derivative at zero is 1: a filter of zeros must get no gradient.
    return (standardized * jnp.sign(standardized)).reshape(w.shape)


def project(w: Array, percentile: Progress) -> Array:
    """Centers each filter, then clips magnitudes between two percentiles of the whole layer.

    c = w - mean(w);  w <- sign(c) clip(|c|, P_q(|c|), P_(100 - q)(|c|))

    Args:
      w: Latent weight `(..., features)`.
      percentile: q in [0, 50), in percent; may be traced. 0 only centers.

    Returns:
      Array like `w`. Exact zeros of c stay zero.
    """
    flat = filters(w, caller="siman.project")
    c = flat - jnp.mean(flat, axis=0, keepdims=True)
    size = jnp.abs(c)
    low, high = order.percentiles(size, jnp.stack([jnp.asarray(percentile), 100.0 - percentile]))
    return (jnp.sign(c) * jnp.clip(size, low, high)).reshape(w.shape).astype(w.dtype)


@cache
def siman(
    code_rule: str = "half",
    initial_percentile: float = 15.0,
    scale_init: str = "fan_in",
    refresh_code: bool = False,
) -> WeightBinarizer:
    """SiMaN's weight binarizer.

    Args:
      code_rule: "half" (exact top half), "median" (as released), or "angle" (cosine-optimal count).
      initial_percentile: q at the start of the run, in percent; falls linearly to 0. 0 centers only.
      scale_init: "fan_in" for 0.5 / sqrt(n), what the released initialization gives in expectation
        whatever the weights; "weights" for mean |w| of each filter.
      refresh_code: Evaluate with the code of the current weights rather than with that of the last train
        step (the release keeps the latter).

    Returns:
      The record. It learns `{"scale": (features,)}` and remembers `{"code": int8, shape of w}`.

    Raises:
      ValueError: For an unknown rule, or a percentile outside [0, 50).

    Example:
      >>> binarizer = siman()
      >>> w_b = binarizer.apply(w)                                      # any (..., features) weight
      >>> grads = jax.grad(lambda w: loss(binarizer.apply(w)))(w)
    """
    if code_rule not in CODE_RULES:
        raise ValueError(f"unknown code_rule {code_rule!r}: expected one of {sorted(CODE_RULES)}")
    if not 0 <= initial_percentile < 50:
        raise ValueError(f"initial_percentile must lie in [0, 50) percent, found {initial_percentile}")
    if scale_init not in ("fan_in", "weights"):
        raise ValueError(f"unknown scale_init {scale_init!r}: expected 'fan_in' or 'weights'")
    rule = CODE_RULES[code_rule]

    def init_params(w: Array) -> Params:
        flat = filters(w, caller="siman")
        n, features = flat.shape
        if scale_init == "weights":
            return {"scale": jnp.mean(jnp.abs(flat), axis=0)}
        return {"scale": jnp.full((features,), 0.5 / n**0.5, flat.dtype)}

    def init_memory(w: Array) -> Memory:
        return {"code": _signed(rule(magnitudes(w)), jnp.int8)}

    def quantize(w: Array, params: Params, memory: Memory, *, train: bool, progress: Progress) -> tuple[Binary, Memory]:
        del progress
        scale = scale_of(params, w, caller="siman")
        if not (train or refresh_code):
            return Binary(memory["code"].astype(scale.dtype), scale), memory
        size = magnitudes(w)
        code = _signed(rule(lax.stop_gradient(size)), size.dtype)
        return Binary(ste.straight_through(code, size), scale), {"code": code.astype(jnp.int8)}

    def project_at(w: Array, *, progress: Progress) -> Array:
        return project(w, initial_percentile * (1.0 - progress))

    return WeightBinarizer("siman", quantize, init_params, init_memory, project_at)


@cache
def siman_activations() -> ActivationBinarizer:
    """SiMaN's activations: each sample standardized over all its entries, then sign.

    a~ = (a - mean a) / sqrt(var a + 1e-5), unbiased, in training and evaluation alike (no running
    statistics); sign with the polynomial surrogate. A constant sample gives one value throughout
    and finite gradients.
    """

    def apply(x: Array, params: Params, *, progress: Progress) -> Array:
        del params, progress
        return standardize_sign(wide(x), EPS).astype(x.dtype)

    return ActivationBinarizer("standardized sign", apply)


def _signed(mask: Array, dtype: DTypeLike) -> Array:
    return jnp.where(mask, 1, -1).astype(dtype)
