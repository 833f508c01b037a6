"""A training step that is not finite changes nothing, and is found by its name."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax import losses
from bnn_jax.binarizers import rebnn, siman, siman_activations
from bnn_jax.training.diagnosis import non_finite_gradients
from tests.training import toy
from tests.training.steps import CROSS_ENTROPY, IMAGE, assert_equal, batch, poisoned, train_setup, zero


def blow_up(o):
    """Infinite, with a gradient of zero, where all images were 254 throughout."""
    flag = jax.lax.stop_gradient(o.features["flag"])
    return jnp.where(flag, jnp.inf, 0.0) + zero(o)


def root(o):
    """Finite, with a gradient that is not: sqrt(|bias - bias|)."""
    bias = o.params["classifier"]["bias"]
    return jnp.sum(jnp.sqrt(jnp.abs(bias - jax.lax.stop_gradient(bias))))


class TestNonFiniteSteps:
    def check_nothing_moves(self, setup, before, bad):
        stopped, metrics = setup.step(before, bad)
        assert not stopped.healthy
        assert_equal(stopped.replace(healthy=before.healthy), before)
        # A good batch afterwards changes nothing either: the host may be one step behind.
        again, later = setup.step(stopped, batch(9))
        assert not again.healthy
        assert_equal(again, stopped)
        return metrics, later

    @pytest.mark.parametrize("binarizer", [siman(), rebnn()], ids=lambda binarizer: binarizer.name)
    def test_a_batch_of_nan_leaves_every_leaf_as_it_was_and_so_do_later_good_ones(self, binarizer):
        setup = train_setup(binarizer)
        state, metrics = setup.step(setup.state, batch())
        assert state.healthy
        assert metrics.finite.all()
        assert metrics.finite_loss
        assert metrics.finite_state
        metrics, later = self.check_nothing_moves(setup, state, poisoned())
        assert not metrics.finite_loss
        assert not metrics.finite.all()
        assert {"conv/kernel", "conv/scale"} <= set(non_finite_gradients(metrics, state.params))
        assert later.finite_loss
        assert later.finite.all()

    def test_one_bad_part_of_a_split_batch_stops_all(self):
        setup = train_setup(siman())
        bad = batch(parts=4)
        bad["image"][2] = 255
        metrics, _ = self.check_nothing_moves(setup, setup.state, bad)
        assert not metrics.finite_loss

    def test_a_loss_that_is_infinite_with_finite_gradients_stops_it(self):
        class Flagged(toy.Network):
            @nn.compact
            def __call__(self, x, *, train=False, progress=0.0):
                logits, features = super().__call__(x, train=train, progress=progress)
                return logits, {**features, "flag": jnp.min(x) > 0.98}

        model = Flagged(3, 4, None, siman_activations())
        setup = train_setup(model=model, terms=(losses.Term("blow_up", blow_up),))
        state, metrics = setup.step(setup.state, batch())
        assert state.healthy
        bright = {**batch(), "image": np.full((1, 8, *IMAGE), 254, np.uint8)}
        metrics, _ = self.check_nothing_moves(setup, state, bright)
        assert metrics.finite.all()
        assert not metrics.finite_loss

    def test_a_gradient_that_is_not_finite_with_a_finite_loss_stops_it_and_is_found_by_its_name(self):
        setup = train_setup(None, terms=(CROSS_ENTROPY, losses.Term("root", root)))
        stopped, metrics = setup.step(setup.state, batch())
        assert metrics.finite_loss
        assert not stopped.healthy
        assert_equal(stopped.replace(healthy=setup.state.healthy), setup.state)
        assert non_finite_gradients(metrics, stopped.params) == ["classifier/bias"]

    def test_an_update_beyond_the_range_of_float32_stops_it(self):
        setup = train_setup(None, rate=float("inf"))
        stopped, metrics = setup.step(setup.state, batch())
        assert metrics.finite_loss
        assert metrics.finite.all()
        assert not metrics.finite_state
        assert not stopped.healthy
        assert_equal(stopped.replace(healthy=setup.state.healthy), setup.state)
