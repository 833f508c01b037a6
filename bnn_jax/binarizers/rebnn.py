"""ReBNN: a learned scale, and latent weights held where they reconstruct it (Xu et al., AAAI 2023, arXiv 2302.00956).

Per filter i, with the code b = sign(w) in {-1, +1} and the learned scale alpha = |s|:

    w_b = alpha b                          dL/dw = alpha dL/dw_b where |w| <= 1, else 0;   dL/dalpha = sum dL/dw_b b
    L_R = 1/2 sum_i gamma_i |w_i - alpha_i b_i|^2              added to the loss; b and gamma constant for the gradient

While |dL/dw_b| < gamma, a step of plain gradient descent with rate * gamma < 1 flips no bit: gamma is the threshold
below which the loss cannot make a weight oscillate about zero. (Adam rescales the pull, and momentum carries older
gradients on; there it is no bound.) Too small it stops no oscillation, too large it blocks flips that are needed; so it
follows what the last step did, per filter of n weights, without a bound but for `clip`:

    gamma_(t+1) = #(b_t != b_(t+1)) / n  *  max_j |dL/dw_b|_t                                               (3.150)

The gradient of the scale by L_R, -gamma sum (w - alpha b) b, is what pulls a scale back from zero, where dL/dw
vanishes. (It is printed without its minus sign in the authors' book, but not in their code.)
"""

from functools import cache
from math import inf
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from bnn_jax import ste
from bnn_jax.binarizers.base import Binary, Gradients, Memory, Params, Progress, WeightBinarizer, filters, scale_of
from bnn_jax.binarizers.reactnet import mean_magnitude
from bnn_jax.ops.precision import wide

RULES = ("adaptive", "constant", "released")
RELEASED_GAMMA = 2e-4
RELEASED_MAGNITUDE = 0.02
# Never so small that a gradient could not be divided by it.
SMALLEST_SCALE = 1e-20


def flip_shares(before: Array, after: Array) -> Array:
    """Share of each filter's weights whose sign differs; zero counts as positive.

    Args:
      before: Latent weight (..., features).
      after: A later one, same shape.

    Returns:
      (features,), float32, in [0, 1].
    """
    return jnp.mean((before >= 0) != (after >= 0), axis=tuple(range(before.ndim - 1)), dtype=jnp.float32)


def adaptive_gamma(flips: Array, peak: Array, clip: tuple[float, float] | None = None) -> Array:
    """The share of flips times the largest gradient; 0 where nothing flipped, however large that is.

    Args:
      flips: Share of each filter's weights that flipped, (features,).
      peak: Largest magnitude of each filter's gradient, (features,).
      clip: Bounds of the result; None for none.

    Returns:
      (features,), of the dtype of `flips` and `peak`.
    """
    gamma = jnp.where(flips > 0, flips * peak, 0.0)
    return gamma if clip is None else jnp.clip(gamma, *clip)


@jax.custom_jvp
def reconstruction(w: Array, alpha: Array, gamma: Array | float) -> Array:
    """L_R, with the gradients above: autodiff reads the weights more often for the same numbers.

    Args:
      w: Latent weight as (n, features).
      alpha: Scales, (features,).
      gamma: Strengths, (features,) or one for all; a constant for the gradient.

    Returns:
      Scalar.
    """
    return 0.5 * jnp.sum(gamma * jnp.sum(jnp.square(jnp.abs(w) - alpha[None]), axis=0))


@reconstruction.defjvp
def _reconstruction_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    (w, alpha, gamma), (dw, dalpha, _) = primals, tangents
    rest = jnp.abs(w) - alpha[None]
    by_weights = gamma * jnp.sum(rest * lax.stop_gradient(ste.sign(w)) * dw, axis=0)
    by_scales = gamma * jnp.sum(rest, axis=0) * dalpha
    return reconstruction(w, alpha, gamma), jnp.sum(by_weights - by_scales)


def rebnn(
    gamma: str = "adaptive", constant: float | None = None, clip: tuple[float, float] | None = None
) -> WeightBinarizer:
    """ReBNN's weight binarizer.

    In a training loop of your own, add `penalty` to the loss and call `update` after each step, as the README's example
    does: without, only a scale is learned and nothing is held. This library's train step does both.

    Args:
      gamma: How strongly weights are held. "adaptive": by (3.150), 0 at first. "constant": by `constant`.
        "released": all as the published code does it, whose clip of gamma has its bounds exchanged and gives 2e-4
        always. There w_b = 0.02 |s| sign(w), dL/dw = |s| dL/dw_b without mask or the factor 0.02, and
        dL/d|s| = sum dL/dw_b w. It draws s from N(0, 1); here s starts at E|s| = sqrt(2 / pi). Its code of a weight of
        exactly 0 is 0; here it is +1.
      constant: gamma of the rule "constant", 0 or more, 2e-4 by default; 0 only learns the scale.
      clip: Bounds of the adaptive gamma; (1e-5, 2e-4) is what the release seems to intend.

    Returns:
      The record. It learns `{"scale": s}`, (features,), from the mean magnitude of each filter; the scale of the filter
      is |s|, whatever the sign training leaves s with. With the adaptive rule
      it remembers, of the last step, `{"gamma", "flips", "peak"}`, float32 (features,): gamma and its two factors.
      Its functions raise what `bnn_jax.binarizers.base.filters` raises, and ValueError for params, memory or
      gradients of another weight.

    Raises:
      ValueError: For an unknown rule, a negative constant, bounds that are none, or either with another rule.

    Example:
      >>> w_b = rebnn().apply(w)                                        # any (..., features) weight
    """
    if gamma not in RULES:
        raise ValueError(
            f"unknown gamma {gamma!r}: expected one of {RULES} (a number: gamma='constant', constant=2e-4)"
        )
    steady = (RELEASED_GAMMA,) if constant is None else _numbers((constant,))
    if constant is not None and (gamma != "constant" or not steady or not 0 <= steady[0] < inf):
        raise ValueError(f"constant needs gamma 'constant' and a number of 0 or more, found {gamma!r} and {constant!r}")
    bounds = None if clip is None else _numbers(clip)
    valid = bounds and len(bounds) == 2 and 0 <= bounds[0] <= bounds[1] and bounds[0] < inf
    if clip is not None and (gamma != "adaptive" or not valid):
        raise ValueError(
            "clip needs gamma 'adaptive' and two numbers, 0 <= lower <= upper, the lower one finite, found "
            f"{gamma!r} and {clip!r}"
        )
    return _rebnn(gamma, steady[0], bounds)


# Of equal options one and the same record: layers that hold it are equal then, and nothing is traced twice.
@cache
def _rebnn(gamma: str, constant: float, clip: tuple[float, float] | None) -> WeightBinarizer:
    adaptive, released = gamma == "adaptive", gamma == "released"
    magnitude = RELEASED_MAGNITUDE if released else 1.0

    def init_params(w: Array) -> Params:
        mean = mean_magnitude(w, caller="rebnn")
        return {"scale": jnp.full_like(mean, (2.0 / jnp.pi) ** 0.5) if released else mean}

    def init_memory(w: Array) -> Memory:
        if not adaptive:
            return {}
        none = jnp.zeros(w.shape[-1], jnp.float32)
        return {"gamma": adaptive_gamma(none, none, clip), "flips": none, "peak": none}

    def quantize(w: Array, params: Params, memory: Memory, *, train: bool, progress: Progress) -> tuple[Binary, Memory]:
        del train, progress
        latent, alpha = filters(w, caller="rebnn").reshape(w.shape), _positive(scale_of(params, w, caller="rebnn"))
        if not released:
            return Binary(ste.sign(latent, ste.clip), alpha), memory
        fixed = lax.stop_gradient(alpha)
        # d code = (dw + w d|s| / |s|) / 0.02, which the product with 0.02 |s| makes |s| dw + w d|s|.
        path = (latent + lax.stop_gradient(latent) * _per_filter(alpha / fixed, w)) / magnitude
        return Binary(ste.straight_through(ste.sign(lax.stop_gradient(latent)), path), magnitude * fixed), memory

    def penalty(w: Array, params: Params, memory: Memory, *, progress: Progress) -> Array:
        del progress
        strength = _gamma_of(memory, w) if adaptive else constant
        alpha = _positive(scale_of(params, w, caller="rebnn"))
        return reconstruction(filters(w, caller="rebnn"), magnitude * alpha, strength)

    def update(memory: Memory, old: tuple[Array, Params], new: tuple[Array, Params], grads: Gradients) -> Memory:
        if not adaptive:
            return memory
        if grads.code is None:
            raise ValueError(
                "rebnn's adaptive gamma needs the gradient with respect to the code, found none: pass "
                "Gradients(weight, params, code)"
            )
        shapes = [v.shape for v in (old[0], new[0], grads.code)]
        if len(set(shapes)) > 1:
            raise ValueError(f"rebnn needs the weight before, after and its code's gradient alike, found {shapes}")
        flips = flip_shares(old[0], new[0])
        largest = jnp.max(jnp.abs(filters(grads.code, caller="rebnn")), axis=0)
        # In float32 whatever the weights are: what is carried from step to step keeps its dtype.
        peak = (largest / _positive(scale_of(old[1], old[0], caller="rebnn"))).astype(jnp.float32)
        return {"gamma": adaptive_gamma(flips, peak, clip), "flips": flips, "peak": peak}

    within = f" in [{clip[0]:g}, {clip[1]:g}]" if clip else ""
    return WeightBinarizer(
        f"rebnn, gamma {constant:g}" if gamma == "constant" else f"rebnn, {gamma} gamma{within}",
        quantize,
        init_params,
        init_memory,
        penalty=penalty,
        update=update,
        needs_code_gradient=adaptive,
    )


def _numbers(values: Any) -> tuple[float, ...]:
    """What is given, as floats; nothing if it is no sequence of numbers."""
    try:
        return () if any(isinstance(value, str) for value in values) else tuple(float(value) for value in values)
    except (TypeError, ValueError):
        return ()


def _gamma_of(memory: Memory, w: Array) -> Array:
    found = {name: v.shape for name, v in memory.items()}
    if found.get("gamma") != w.shape[-1:]:
        raise ValueError(
            f"rebnn's adaptive gamma needs a memory with gamma {w.shape[-1:]}, one for each output channel of the "
            f"weight {w.shape}, found {found}: start from init_memory(w) and move it on with update"
        )
    return memory["gamma"]


def _positive(scale: Array) -> Array:
    """|s|, at least `SMALLEST_SCALE`, with the derivative of |s| (+1 at zero)."""
    magnitude = jnp.abs(wide(scale))
    return ste.straight_through(jnp.maximum(magnitude, SMALLEST_SCALE), magnitude)


def _per_filter(v: Array, w: Array) -> Array:
    return jnp.expand_dims(v, range(w.ndim - 1))
