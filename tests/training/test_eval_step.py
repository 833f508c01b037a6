"""One evaluation step, over a mapped axis that `jax.vmap` provides."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.training.eval_step import make_eval_step
from bnn_jax.training.step import AXIS


class Logits(nn.Module):
    """The first pixels as logits, so that a test chooses them; 254 stands for NaN, 255 for infinity."""

    classes: int = 7

    @nn.compact
    def __call__(self, x, *, train=False, progress=0.0):
        flat = x.reshape(x.shape[0], -1)[:, : self.classes]
        return jnp.where(flat == 254, jnp.nan, jnp.where(flat == 255, jnp.inf, flat)), {}


def count(images, labels, mask=None, parts=1):
    """Counts over a batch of images (n, 9)."""
    step = make_eval_step(Logits(), lambda image: image.astype(jnp.float32))
    n = len(labels)
    data = {
        "image": np.asarray(images, np.uint8).reshape(parts, -1, 3, 3, 1),
        "label": np.asarray(labels, np.int32).reshape(parts, -1),
        "mask": np.asarray(np.ones(n, bool) if mask is None else mask).reshape(parts, -1),
    }
    mapped = jax.jit(jax.vmap(step, in_axes=(None, 0), out_axes=None, axis_name=AXIS))
    return jax.device_get(mapped({}, data))


class TestEvalStep:
    @pytest.mark.parametrize("parts", [1, 2, 5])
    def test_counts_are_those_of_numpy_over_the_examples_that_are_not_padding(self, parts):
        rng = np.random.default_rng(1)
        images = np.stack([rng.permutation(9) for _ in range(20)])
        labels, mask = rng.integers(0, 7, 20), np.arange(20) < 13
        logits = images[:, :7].astype(np.float64)
        rank = (logits > logits[np.arange(20), labels][:, None]).sum(-1)
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        found = count(images, labels, mask, parts)
        assert found.correct == (rank == 0)[mask].sum() > 0
        assert found.correct_top5 == (rank < 5)[mask].sum() < 13
        assert found.examples == 13
        np.testing.assert_allclose(found.loss, -log_p[np.arange(20), labels][mask].sum(), rtol=1e-5)

    def test_rows_of_nan_in_the_padding_change_nothing(self):
        images = np.array([[5, 0, 0, 0, 0, 0, 0, 0, 0], [254] * 9])
        found = count(images, [0, 0], [True, False])
        assert (found.correct, found.correct_top5, found.examples) == (1, 1, 1)
        assert np.isfinite(found.loss)

    @pytest.mark.parametrize(
        "row", [[254] * 7, [254, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 254], [9, 254, 0, 0, 0, 0, 0]]
    )
    @pytest.mark.parametrize("label", range(7))
    def test_an_example_with_a_nan_among_its_logits_is_never_right(self, row, label):
        found = count([[*row, 0, 0]], [label])
        assert (found.correct, found.correct_top5, found.examples) == (0, 0, 1)
        assert np.isnan(found.loss)

    def test_equal_logits_count_in_the_order_of_the_classes(self):
        """A network that has died finds one label in first place and five among the first five."""
        found = count(np.full((7, 9), 3), range(7))
        assert (found.correct, found.correct_top5) == (1, 5)

    def test_an_infinite_logit_is_the_largest(self):
        assert count([[0, 255, 0, 0, 0, 0, 0, 0, 0]], [1]).correct == 1
        assert count([[0, 255, 0, 0, 0, 0, 0, 0, 0]], [0]).correct == 0

    def test_with_fewer_than_five_classes_every_label_is_among_the_first_five(self):
        step = make_eval_step(Logits(classes=3), lambda image: image.astype(jnp.float32))
        data = {
            "image": np.zeros((1, 3, 3, 3, 1), np.uint8),
            "label": np.arange(3, dtype=np.int32)[None],
            "mask": np.ones((1, 3), bool),
        }
        found = jax.vmap(step, in_axes=(None, 0), out_axes=None, axis_name=AXIS)({}, data)
        assert (found.correct, found.correct_top5) == (1, 3)
