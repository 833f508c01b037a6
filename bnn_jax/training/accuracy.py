"""Exact classification accuracy over a whole split."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from bnn_jax.data import eval_batches
from bnn_jax.training import parallel
from bnn_jax.training.experiment import Experiment

# Batches on their way: counting must not make the host wait for each, nor a request to stop for all.
_IN_FLIGHT = 4


class Interrupted(Exception):
    """An evaluation was asked to stop before its end."""


class Accuracy(NamedTuple):
    """Classification results over a split.

    Attributes:
      top1: Share of examples classified rightly, in [0, 1].
      top5: Share whose label is among the five largest logits, in [0, 1].
      loss: Mean cross-entropy.
      examples: Number of examples.
      correct: Number classified rightly.
    """

    top1: float
    top5: float
    loss: float
    examples: int
    correct: int


def evaluate(
    eval_step: Callable[[Any, Any], Any],
    variables: Any,
    batches: Iterable[dict[str, np.ndarray]],
    split: Callable[[dict[str, np.ndarray]], Any],
    interrupted: Callable[[], bool] = lambda: False,
) -> Accuracy:
    """Evaluates every example once; padded rows do not count.

    Args:
      eval_step: `(variables, batch) -> Counts`, as of `bnn_jax.training.eval_step.make_eval_step` over devices.
      variables: Replicated variables of the network.
      batches: Host batches with "image", "label" and "mask".
      split: Lays a host batch out over the local devices.
      interrupted: Asked before each batch whether to stop; of several hosts all must be told the same.

    Returns:
      The results, the same on every host.

    Raises:
      ValueError: If there is no example.
      Interrupted: If it was told to stop.
    """
    counts: list[Any] = []
    for i, batch in enumerate(batches):
        if interrupted():
            raise Interrupted
        counts.append(eval_step(variables, split(batch)))
        if i >= _IN_FLIGHT:
            counts[i - _IN_FLIGHT] = jax.device_get(counts[i - _IN_FLIGHT])
    counts = jax.device_get(counts)
    examples = sum(int(c.examples) for c in counts)
    if not examples:
        raise ValueError("there is nothing to evaluate: the split has no examples")
    correct = sum(int(c.correct) for c in counts)
    top5 = sum(int(c.correct_top5) for c in counts)
    loss = float(np.sum([np.float64(c.loss) for c in counts]) / examples)
    return Accuracy(correct / examples, top5 / examples, loss, examples, correct)


def measure(experiment: Experiment, variables: Any, interrupted: Callable[[], bool] = lambda: False) -> Accuracy:
    """Accuracy of replicated variables on the test split; see `evaluate`."""
    batches = eval_batches(
        experiment.splits.test,
        batch_size=experiment.config.data.eval_batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        threads=experiment.config.run.read_threads,
        prefetch=max(4, experiment.config.run.read_threads),
    )
    return evaluate(experiment.eval_step, variables, batches, parallel.split, interrupted)
