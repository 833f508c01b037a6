"""Mimicking a teacher's weight distribution (BD-BNN, Rozen et al. 2022, arXiv 2204.02004).

Teacher and student have weights of the same names and shapes. Each weight is read as distributions, by default one
over the input channels for each filter and position, p = softmax(w / T), and the student's are drawn to the teacher's:

    L = T^2 sum over layers of mean(p_T (log p_T - log p_S))
"""

import warnings
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from bnn_jax.losses import Outputs
from bnn_jax.ops.divergence import softmax_divergence
from bnn_jax.ops.precision import wide
from bnn_jax.regularizers.kernels import FIRST, kernels

# What a distribution runs over: axes of a kernel (..., in, out), which are joined.
OVER: dict[str, Callable[[int], tuple[int, ...]]] = {
    "inputs": lambda ndim: (ndim - 2,),
    "filter": lambda ndim: tuple(range(ndim - 1)),
    "tensor": lambda ndim: tuple(range(ndim)),
}
REDUCTIONS = ("elements", "distributions")


def weight_mimicking(
    student: Any,
    teacher: Any,
    *,
    temperature: float = 4.0,
    over: str = "inputs",
    reduction: str = "elements",
    where: str = "",
    skip: str = "",
) -> Array:
    """How far the student's weight distributions are from the teacher's, summed over the weights.

        T^2 sum over weights of mean(p_T (log p_T - log p_S)),    p = softmax(w / T)

    the Kullback-Leibler divergence of the student's from the teacher's.

    Args:
      student: Any pytree of NumPy or JAX arrays.
      teacher: Pytree of which the same weights are chosen; no gradient flows to it.
      temperature: T, of the softmax.
      over: What a distribution runs over: "inputs" (each filter and position has one over its input channels), as
        released; "filter" (one for each output channel); "tensor" (one for each weight).
      reduction: Mean over all "elements", as released, or over the "distributions": the mean Kullback-Leibler
        divergence.
      where: Which weights, see `bnn_jax.regularizers.kernels.kernels`.
      skip: Which of these not.

    Returns:
      Scalar, float32 or wider, 0 or more.

    Raises:
      ValueError: If the weights of the two differ in name or shape, or one has fewer than two dimensions and `over`
        is not "tensor" (names them), or an argument is unknown.

    Example:
      >>> loss = cross_entropy + 200 * weight_mimicking(params, teacher_params, skip="^stem")
    """
    if over not in OVER:
        raise ValueError(f"unknown over = {over!r}: expected one of {sorted(OVER)}")
    if reduction not in REDUCTIONS:
        raise ValueError(f"unknown reduction {reduction!r}: expected one of {REDUCTIONS}")
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, found {temperature}")

    def divergence(own: Array, other: Array) -> Array:
        axes = OVER[over](own.ndim)
        each = softmax_divergence(own / temperature, other / temperature, axes)
        return jnp.sum(each) / own.size if reduction == "elements" else jnp.mean(each)

    pairs = _pairs(student, teacher, where, skip, dimensions=1 if over == "tensor" else 2)
    return temperature**2 * sum((divergence(*pair) for pair in pairs[1:]), divergence(*pairs[0]))


def raw_weight_mimicking(student: Any, teacher: Any, *, where: str = "", skip: str = "") -> Array:
    """The released form, sum over weights of mean(exp(w_T) (w_T - w_S)): for comparison with the release only.

    It takes weights for logarithms of probabilities. Its gradient is -exp(w_T) / n whatever the student's weights
    are: unbounded below, it pushes all of them up for ever. Warns of that when called (or traced).

    Args and errors as `weight_mimicking`.
    """
    warnings.warn(
        "the raw form of weight mimicking is unbounded below: it pushes every weight up for ever. Use weight_mimicking",
        stacklevel=2,
    )
    parts = [jnp.mean(jnp.exp(t) * (t - s)) for s, t in _pairs(student, teacher, where, skip)]
    return sum(parts[1:], parts[0])


def _pairs(student: Any, teacher: Any, where: str, skip: str, dimensions: int = 0) -> list[tuple[Array, Array]]:
    own = kernels(student, where, skip, whose="the student's parameters")
    other = kernels(teacher, where, skip, whose="the teacher's parameters")
    lines = [f"{path} is the student's alone" for path in own if path not in other]
    lines += [f"{path} is the teacher's alone" for path in other if path not in own]
    lines += [
        f"{path} has shape {w.shape} in the student, {other[path].shape} in the teacher"
        for path, w in own.items()
        if path in other and w.shape != other[path].shape
    ]
    if lines:
        more = f"\n  and {len(lines) - 8} more" if len(lines) > 8 else ""
        raise ValueError(
            "mimicking needs a teacher with the student's weights, and these differ:\n  "
            + "\n  ".join(lines[:8])
            + more
        )
    flat = [f"{path} {w.shape}" for path, w in own.items() if w.ndim < dimensions]
    if flat:
        raise ValueError(
            f"a weight's distributions need {dimensions} or more dimensions, and these have fewer: {', '.join(flat)}. "
            "Choose others (where, skip)" + (', or over="tensor"' if dimensions > 1 else "")
        )
    return [(wide(w), lax.stop_gradient(wide(other[path]))) for path, w in own.items()]


def mimicking_term(
    temperature: float = 4.0,
    over: str = "inputs",
    reduction: str = "elements",
    where: str = "",
    skip: str = FIRST,
    form: str = "softmax",
) -> Callable[[Outputs], Array]:
    """`weight_mimicking` of the teacher's weights as a term of the loss.

    Args:
      temperature: T, of the softmax.
      over: "inputs", "filter" or "tensor".
      reduction: "elements" or "distributions".
      where: Which weights; "": the kernels of convolutions.
      skip: Which of these not: the first one, by its name in this library's networks.
      form: "softmax", or "raw", which is `raw_weight_mimicking`.

    Returns:
      `Outputs -> scalar`. It raises ValueError if there is no teacher, else as `weight_mimicking`.

    Raises:
      ValueError: For an unknown form.
    """
    if form not in ("softmax", "raw"):
        raise ValueError(f"unknown form {form!r}: expected 'softmax' or 'raw'")

    def term(outputs: Outputs) -> Array:
        params = outputs.require_teacher("weight mimicking").params
        if form == "raw":
            return raw_weight_mimicking(outputs.params, params, where=where, skip=skip)
        return weight_mimicking(
            outputs.params, params, temperature=temperature, over=over, reduction=reduction, where=where, skip=skip
        )

    return term
