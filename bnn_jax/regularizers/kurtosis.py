"""Kurtosis of latent weights (BD-BNN, Rozen et al. 2022, arXiv 2204.02004; KURE, Shkolnik et al. 2020).

Binarizing loses least where weights lie in two heaps. The regularizer draws the kurtosis of each layer's weights,

    K(w) = mean(((w - mean w) / std w)^4)        std unbiased; normal 3, uniform 1.8, two heaps towards 1

to a target:  L = mean over layers of (K(w_l) - target_l)^2.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, prod
from numbers import Real
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from bnn_jax.losses import Outputs
from bnn_jax.ops import kurtosis as moments
from bnn_jax.regularizers.kernels import FIRST, check_rule, kernels

Target = float | str | Array | np.ndarray | Sequence[float] | Mapping[str, float]
REDUCTIONS = ("mean", "sum", "max")

# For ResNet-18: 16 convolutions of blocks, and after the second one of stages 2 to 4 their shortcut's.
RELEASED_TARGETS: Mapping[str, tuple[float, ...]] = {
    "cifar": (*[1.4] * 14, 1.8, 1.8, 1.8, 1.8, 2.2),
    "imagenet": (1.8, 1.4, 1.4, 1.4, 1.4, 1.2, 1.4, 1.2, 1.2, 1.4, 1.4, 1.4, 1.2, 1.2, 1.2, 1.2, 1.4, 1.0, 1.0),
    "teacher_student": (1.8, 1.8, 1.8, 1.8, 1.8, 1.8, 1.4, 1.8, 1.8, 1.8, 1.4, 1.4, 1.4, 1.4, 1.8, 1.2, 1.4, 1.2, 1.2),
}


def weight_kurtosis(w: Array, *, per_channel: bool = False) -> Array:
    """The kurtosis of a weight, of all its values or of each output channel.

    Args:
      w: (..., features), floating point.
      per_channel: Whether each filter (last axis) has one of its own.

    Returns:
      Scalar, or (features,); float32 or wider. 0, without gradient, where all values are the same
      (or so small or large that their fourth powers leave the range of float32). NaN, as is its gradient, where a
      value is NaN or infinite.

    Raises:
      ValueError: If there are fewer than two values.
    """
    if not _has_kurtosis(w.shape, per_channel):
        raise ValueError(f"kurtosis needs two or more values, found shape {w.shape} (per_channel = {per_channel})")
    return moments.kurtosis(w.reshape(-1, w.shape[-1]), per_column=per_channel)


def _has_kurtosis(shape: tuple[int, ...], per_channel: bool) -> bool:
    return prod(shape[:-1] if per_channel else shape) > 1


def kurtosis(
    params: Any,
    target: Target = 1.8,
    *,
    where: str = "",
    skip: str = "",
    reduction: str = "mean",
    per_channel: bool = False,
) -> Array:
    """How far the kurtosis of each weight is from its target: (K - target)^2, over the weights.

    K = mean(((w - mean w) / std w)^4), with the unbiased std.

    Args:
      params: Any pytree of NumPy or JAX arrays.
      target: One for all weights; or by rule, a mapping from regular expressions over paths, of which the first that
        matches counts; or one for each weight, in the order of their paths (sorted as text); or the name of a released
        list for ResNet-18 ("cifar", "imagenet", "teacher_student"), of which smaller networks take the first so many.
      where: Which weights, a regular expression over paths, "" for the kernels of convolutions. One that is given
        chooses arrays of any shape, biases too: "^stage3/.*kernel$". See `bnn_jax.regularizers.kernels.kernels`.
      skip: Which of these not. Of the released lists the first convolution is none: they cannot do without `skip`.
      reduction: Over the weights: "mean", "sum" or "max" (whose gradient moves the worst one alone).
      per_channel: Whether each output channel is to have the target, and the mean over these is taken.

    Returns:
      Scalar, float32 or wider. A weight whose values are all the same adds nothing; one that is not finite makes it
      NaN.

    Raises:
      ValueError: If a rule matches nothing or is no regular expression, a weight has no target or fewer than two values
        or is not floating point (names it), targets and weights differ in number, or one is negative or not finite.

    Example:
      >>> loss = cross_entropy + kurtosis(params, target=1.4, skip="^stem")
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"unknown reduction {reduction!r}: expected one of {REDUCTIONS}")
    if isinstance(target, str) and not skip:
        raise ValueError(f"the targets {target!r} leave out the first convolution: say in `skip` which that is")
    chosen = kernels(params, where, skip)
    without = {path: jnp.shape(w) for path, w in chosen.items() if not _has_kurtosis(jnp.shape(w), per_channel)}
    if without:
        raise ValueError(
            f"kurtosis needs two or more values (per_channel = {per_channel}), found shapes {without}: leave these out "
            "by `where` or `skip`"
        )
    wanted = targets_of(target, list(chosen))
    parts = jnp.stack([_distance(w, wanted[path], per_channel) for path, w in chosen.items()])
    if reduction == "max":
        return jnp.max(parts)
    return jnp.sum(parts) if reduction == "sum" else jnp.mean(parts)


def _distance(w: Array, target: float, per_channel: bool) -> Array:
    values = weight_kurtosis(w, per_channel=per_channel)
    return jnp.mean(jnp.where(values == 0, 0.0, jnp.square(values - target)))


def targets_of(target: Target, paths: Sequence[str]) -> dict[str, Any]:
    """The target of each weight: a float, or what a transformation traces it as.

    Args:
      target: As in `kurtosis`.
      paths: Of the weights, in order.

    Raises:
      ValueError: For an unknown list, one of another length, a rule that matches nothing or is no regular expression,
        a weight without target, or a target that is negative or not finite.
    """
    if isinstance(target, Real) or (isinstance(target, Array | np.ndarray) and target.ndim == 0):
        return dict.fromkeys(paths, _checked(target))
    if isinstance(target, Mapping):
        return _by_rule(target, paths)
    if isinstance(target, str):
        if target not in RELEASED_TARGETS:
            raise ValueError(f"unknown targets {target!r}: expected a number or one of {sorted(RELEASED_TARGETS)}")
        known = RELEASED_TARGETS[target]
        if len(paths) > len(known):
            raise ValueError(
                f"targets {target!r} are {len(known)} numbers, for {len(paths)} weights: give one number for all"
            )
        return dict(zip(paths, known, strict=False))
    if not isinstance(target, Sequence | Array | np.ndarray):
        raise ValueError(f"expected a number for target, several, rules or the name of a list, found {target!r}")
    if len(target) != len(paths):
        raise ValueError(f"expected a target for each of the weights {list(paths)}, found {len(target)}")
    return dict(zip(paths, map(_checked, target), strict=True))


def _checked(target: Any) -> Any:
    if isinstance(target, Tracer):
        return target
    value = float(target)
    if not 0 <= value < inf:
        raise ValueError(f"expected targets of 0 or more (the kurtosis of two heaps is 1), found {value}")
    return value


def _by_rule(rules: Mapping[str, float], paths: Sequence[str]) -> dict[str, float]:
    for rule in rules:
        check_rule(rule, f"the rule {rule!r} of the targets")
    matching = {path: [rule for rule in rules if re.search(rule, path)] for path in paths}
    bare = [path for path, found in matching.items() if not found]
    if bare:
        raise ValueError(f"no rule of the targets {list(rules)} matches {bare}: add one, at the end, for the rest")
    idle = [rule for rule in rules if all(rule not in found for found in matching.values())]
    if idle:
        raise ValueError(f"the rules {idle} of the targets match none of the weights, which are {list(paths)}")
    return {path: _checked(rules[found[0]]) for path, found in matching.items()}


@dataclass(frozen=True)
class KurtosisTerm:
    """`kurtosis` as a term of the loss; arguments as its."""

    target: Target
    where: str
    skip: str
    reduction: str
    per_channel: bool

    def __call__(self, outputs: Outputs) -> Array:
        """The term's value."""
        return kurtosis(
            outputs.params,
            self.target,
            where=self.where,
            skip=self.skip,
            reduction=self.reduction,
            per_channel=self.per_channel,
        )

    def targets(self, params: Any) -> dict[str, float]:
        """The target of each weight, by path."""
        return targets_of(self.target, list(kernels(params, self.where, self.skip)))


def kurtosis_term(
    target: float | None = None,
    targets: str | tuple[Any, ...] = "",
    where: str = "",
    skip: str = FIRST,
    reduction: str = "mean",
    per_channel: bool = False,
) -> KurtosisTerm:
    """`kurtosis` of the network's weights as a term of the loss.

    From a later epoch on: `LossConfig("kurtosis", component(kurtosis_term), schedule=component(start_at, start=30))`,
    with `start_at` of `bnn_jax.training.schedules`.

    Args:
      target: One for all weights; None for 1.8.
      targets: Instead of it one for each, pairs of a regular expression over paths and a number, or the name of a
        released list.
      where: Which weights; "": the kernels of convolutions, also of those in full precision. A rule that is given
        chooses arrays of any shape, biases too: "^stage3.*kernel$".
      skip: Which of these not: the first one, by its name in this library's networks.
      reduction: "mean", "sum" or "max".
      per_channel: Whether each output channel is to have the target.

    Returns:
      `Outputs -> scalar`, see `KurtosisTerm`. It raises ValueError as `kurtosis` does.

    Raises:
      ValueError: If both `target` and `targets` are given.
    """
    if targets and target is not None:
        raise ValueError(
            f"give target or targets, found target = {target} and targets = {targets!r}: for one number for all set "
            "targets to ''"
        )
    several: Any = targets
    if targets and isinstance(targets[0], Sequence) and not isinstance(targets, str):
        several = dict(targets)
    return KurtosisTerm(several or (1.8 if target is None else target), where, skip, reduction, per_channel)
