"""One evaluation step, as a function of one device's share of a batch: exact counts over the mapped axis "batch"."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import optax
from jax import Array, lax

from bnn_jax.training.step import AXIS, Batch


class Counts(NamedTuple):
    """Sums over examples, exact over padded batches.

    Attributes:
      correct: Right answers.
      correct_top5: Examples whose label is among the five largest logits; of equal ones the first count.
      loss: Sum of cross-entropies.
      examples: Number of examples.
    """

    correct: Array
    correct_top5: Array
    loss: Array
    examples: Array


def label_ranks(logits: Array, labels: Array) -> Array:
    """How many classes come before the right one: (n, classes) and (n,) to (n,); more than there are if one is NaN."""
    own = jnp.take_along_axis(logits, labels[:, None], axis=-1)
    # Ties by order, as argmax has it: a network whose logits are all the same must not find every label.
    earlier = jnp.arange(logits.shape[-1])[None] < labels[:, None]
    rank = jnp.sum((logits > own) | ((logits == own) & earlier), axis=-1)
    # At least five: also among few classes NaN is never right.
    return jnp.where(jnp.any(jnp.isnan(logits), axis=-1), max(logits.shape[-1], 5), rank)


def make_eval_step(model: nn.Module, normalize: Callable[[Array], Array]) -> Callable[[dict[str, Any], Batch], Counts]:
    """The evaluation step.

    Args:
      model: The network.
      normalize: uint8 images to the network's inputs.

    Returns:
      `(variables, batch) -> Counts` over the global batch, where `batch["mask"]` (n,) says which rows are
      examples and which padding.
    """

    def eval_step(variables: dict[str, Any], batch: Batch) -> Counts:
        logits, _ = model.apply(variables, normalize(batch["image"]), train=False, progress=1.0)
        logits = logits.astype(jnp.float32)
        mask, labels = batch["mask"].astype(bool), batch["label"]
        rank = label_ranks(logits, labels)
        cross_entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        counts = Counts(
            correct=jnp.sum(mask & (rank < 1)),
            correct_top5=jnp.sum(mask & (rank < 5)),
            loss=jnp.sum(jnp.where(mask, cross_entropy, 0.0)),
            examples=jnp.sum(mask),
        )
        return lax.psum(counts, AXIS)

    return eval_step
