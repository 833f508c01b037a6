"""The loss as a sum of named, weighted terms, each reported on its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import optax
from jax import Array

from bnn_jax.binarizers.base import Params, Progress


class Outputs(NamedTuple):
    """What a term may look at: one forward pass and what it came from.

    Attributes:
      logits: (batch, classes).
      labels: (batch,), integer.
      features: Named stage outputs of the network.
      params: Parameters of the network, nested dict.
      progress: Fraction of the training run that is over, scalar.
    """

    logits: Array
    labels: Array
    features: Mapping[str, Array]
    params: Params
    progress: Progress


@dataclass(frozen=True)
class Term:
    """A named term of the loss.

    Attributes:
      name: Under which it is reported.
      function: `Outputs -> scalar`, a mean over the batch.
      weight: What it is multiplied with: a number, or a function of progress.
    """

    name: str
    function: Callable[[Outputs], Array]
    weight: float | Callable[[Progress], Array] = 1.0

    def weight_at(self, progress: Progress) -> float | Array:
        """The weight at a fraction `progress` of the run."""
        return self.weight(progress) if callable(self.weight) else self.weight


def total(terms: Sequence[Term], outputs: Outputs) -> tuple[Array, dict[str, Array]]:
    """The weighted sum of the terms, and each term's own value, unweighted, by name."""
    values = {term.name: term.function(outputs) for term in terms}
    weighted = [term.weight_at(outputs.progress) * values[term.name] for term in terms]
    return sum(weighted[1:], jnp.asarray(weighted[0])), values


def cross_entropy(label_smoothing: float = 0.0) -> Callable[[Outputs], Array]:
    """Mean softmax cross-entropy with integer labels.

    Args:
      label_smoothing: Share of the probability mass spread evenly over all classes, in [0, 1).
    """

    def term(outputs: Outputs) -> Array:
        logits = outputs.logits.astype(jnp.float32)
        if not label_smoothing:
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, outputs.labels))
        targets = optax.smooth_labels(jnp.eye(logits.shape[-1])[outputs.labels], label_smoothing)
        return jnp.mean(optax.softmax_cross_entropy(logits, targets))

    return term
