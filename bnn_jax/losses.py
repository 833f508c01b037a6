"""The loss as a sum of named, weighted terms, each reported on its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from bnn_jax.binarizers.base import Params, Progress
from bnn_jax.ops.precision import wide


class Teacher(NamedTuple):
    """A frozen network's view of the same images, in evaluation mode.

    Attributes:
      logits: (batch, classes).
      features: Named stage outputs.
      params: Its parameters, nested dict.
    """

    logits: Array
    features: Mapping[str, Array]
    params: Params


class Outputs(NamedTuple):
    """What a term may look at: one forward pass and what it came from.

    Attributes:
      logits: (batch, classes).
      labels: (batch,), integer.
      features: Named stage outputs of the network.
      params: Parameters of the network, nested dict.
      progress: Fraction of the training run that is over, scalar.
      teacher: The teacher, if the experiment has one.
      learned: What the term that is called learns itself, see `Learning`.
    """

    logits: Array
    labels: Array
    features: Mapping[str, Array]
    params: Params
    progress: Progress
    teacher: Teacher | None = None
    learned: Params = MappingProxyType({})

    def require_teacher(self, caller: str) -> Teacher:
        """The teacher.

        Raises:
          ValueError: If the experiment has none.
        """
        if self.teacher is None:
            raise ValueError(f"the loss {caller} needs a teacher, and this config has none: set its field `teacher`")
        return self.teacher


@dataclass(frozen=True)
class Learning:
    """A term's function which learns parameters of its own, beside the network's.

    Attributes:
      function: `Outputs -> scalar`; finds its parameters in `outputs.learned`.
      init_params: `() -> params`, a flat dict of arrays.
    """

    function: Callable[[Outputs], Array]
    init_params: Callable[[], Params]

    def __call__(self, outputs: Outputs) -> Array:
        """The term's value."""
        return self.function(outputs)


@dataclass(frozen=True)
class Term:
    """A named term of the loss.

    Attributes:
      name: Under which it is reported.
      function: `Outputs -> scalar`, a mean over the batch; may be a `Learning`.
      weight: What it is multiplied with: a number, or a function of progress.
    """

    name: str
    function: Callable[[Outputs], Array]
    weight: float | Callable[[Progress], Array] = 1.0

    def weight_at(self, progress: Progress) -> float | Array:
        """The weight at a fraction `progress` of the run."""
        return self.weight(progress) if callable(self.weight) else self.weight


def init_params(terms: Sequence[Term]) -> dict[str, Params]:
    """Initial parameters of the terms which learn, by name of the term."""
    return {term.name: dict(term.function.init_params()) for term in terms if isinstance(term.function, Learning)}


def total(
    terms: Sequence[Term], outputs: Outputs, learned: Mapping[str, Params] = MappingProxyType({})
) -> tuple[Array, dict[str, Array]]:
    """The weighted sum of the terms, and each term's own value, unweighted, by name.

    Args:
      terms: One or more.
      outputs: What they look at.
      learned: What each term learns, by name, as `init_params` gives it.
    """
    values = {term.name: term.function(outputs._replace(learned=learned.get(term.name, {}))) for term in terms}
    weighted = [term.weight_at(outputs.progress) * values[term.name] for term in terms]
    return sum(weighted[1:], jnp.asarray(weighted[0])), values


def cross_entropy(label_smoothing: float = 0.0) -> Callable[[Outputs], Array]:
    """Mean softmax cross-entropy with integer labels.

    Args:
      label_smoothing: Share of the probability mass spread evenly over all classes, in [0, 1).
    """
    # Not when this module is imported: the pure parts of the library need nothing but JAX.
    import optax

    def term(outputs: Outputs) -> Array:
        logits = wide(outputs.logits)
        if not label_smoothing:
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, outputs.labels))
        targets = optax.smooth_labels(jnp.eye(logits.shape[-1])[outputs.labels], label_smoothing)
        return jnp.mean(optax.softmax_cross_entropy(logits, targets))

    return term


def named_features(features: Mapping[str, Array], names: Sequence[str], whose: str) -> list[Array]:
    """The features of these names, in this order.

    Args:
      features: Of a network.
      names: Which.
      whose: For messages: "the network", "the teacher".

    Raises:
      ValueError: If there is none of a name.
    """
    missing = [name for name in names if name not in features]
    if missing:
        raise ValueError(f"{whose} has no features {missing}: it has {sorted(features)}")
    return [features[name] for name in names]
