"""Exact accuracy over a split, whatever the batch size."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.data import eval_batches, from_arrays
from bnn_jax.training import parallel
from bnn_jax.training.accuracy import Interrupted, evaluate
from bnn_jax.training.eval_step import make_eval_step

EXAMPLES, CLASSES = 23, 7


class Linear(nn.Module):
    """Logits that differ in every example."""

    @nn.compact
    def __call__(self, x, *, train=False, progress=0.0):
        return nn.Dense(CLASSES, use_bias=False)(x.reshape(x.shape[0], -1)), {}


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (EXAMPLES, 2, 2, 1), dtype=np.uint8)
    labels = rng.integers(0, CLASSES, EXAMPLES)
    return from_arrays(images, labels, images, labels, CLASSES, mean=[0.5], std=[0.5]).test


VARIABLES = {"params": {"Dense_0": {"kernel": np.random.default_rng(1).normal(size=(4, CLASSES)).astype(np.float32)}}}


def run(split, batch_size, poison=False):
    step = make_eval_step(Linear(), lambda images: images.astype(jnp.float32) / 255)
    batches = eval_batches(split, batch_size=batch_size)
    if poison:
        # What stands in the padding must not matter, were it out of any range.
        batches = ({**b, "label": np.where(b["mask"], b["label"], 3).astype(np.int32)} for b in batches)
    return evaluate(parallel.parallelize(step), VARIABLES, batches, parallel.split)


@pytest.mark.parametrize("batch_size", [1, 5, 8, 23, 50])
def test_counts_are_numpys_whatever_the_batch_size(split, batch_size):
    flat = split.images.reshape(EXAMPLES, -1).astype(np.float64) / 255
    logits = flat @ VARIABLES["params"]["Dense_0"]["kernel"].astype(np.float64)
    labels = split.labels
    rank = (logits > logits[np.arange(EXAMPLES), labels][:, None]).sum(-1)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    found = run(split, batch_size)
    assert (found.correct, found.examples) == ((rank == 0).sum(), EXAMPLES)
    assert found.top1 == (rank == 0).sum() / EXAMPLES
    assert found.top5 == (rank < 5).sum() / EXAMPLES
    assert 0 < found.top1 < found.top5 < 1
    np.testing.assert_allclose(found.loss, -log_p[np.arange(EXAMPLES), labels].mean(), rtol=1e-5)


def test_labels_of_the_padding_do_not_count(split):
    assert run(split, 50, poison=True)._replace(loss=0) == run(split, 50)._replace(loss=0)


def test_it_stops_when_it_is_told_to(split):
    step = parallel.parallelize(make_eval_step(Linear(), lambda images: images.astype(jnp.float32) / 255))
    answers = iter([False, False, True])
    batches = iter(list(eval_batches(split, batch_size=2)))
    with pytest.raises(Interrupted):
        evaluate(step, VARIABLES, batches, parallel.split, lambda: next(answers))
    assert len(list(batches)) == -(-EXAMPLES // 2) - 3


def test_no_examples_at_all_are_refused():
    nothing = partial(evaluate, lambda variables, batch: None, {}, [], parallel.split)
    with pytest.raises(ValueError, match="there is nothing to evaluate"):
        nothing()
