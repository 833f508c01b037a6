"""The loss as a sum of terms, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax import losses

LOGITS = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32) * 3
LABELS = np.array([0, 1, 2, 3, 4, 0, 3], np.int32)


def outputs(**changes):
    made = losses.Outputs(jnp.asarray(LOGITS), jnp.asarray(LABELS), {}, {}, 0.25)
    return made._replace(**changes)


def log_softmax(logits):
    wide = logits.astype(np.float64)
    wide = wide - wide.max(-1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(-1, keepdims=True))


class TestCrossEntropy:
    def test_it_is_the_mean_of_the_labels_negative_log_probability(self):
        expected = -log_softmax(LOGITS)[np.arange(7), LABELS].mean()
        np.testing.assert_allclose(losses.cross_entropy()(outputs()), expected, rtol=1e-5)

    @pytest.mark.parametrize("smoothing", [0.1, 0.5])
    def test_label_smoothing_spreads_its_share_over_all_classes_the_right_one_included(self, smoothing):
        targets = np.full((7, 5), smoothing / 5)
        targets[np.arange(7), LABELS] += 1 - smoothing
        expected = -(targets * log_softmax(LOGITS)).sum(-1).mean()
        np.testing.assert_allclose(losses.cross_entropy(smoothing)(outputs()), expected, rtol=1e-5)

    def test_released_label_smoothing(self, golden):
        a = golden("rebnn", "label_smooth_ce")
        term, labels = losses.cross_entropy(float(a["eps"])), jnp.asarray(a["labels"], jnp.int32)
        value, grad = jax.value_and_grad(lambda v: term(outputs(logits=v, labels=labels)))(jnp.asarray(a["logits"]))
        np.testing.assert_allclose(value, a["loss"], rtol=2e-5)
        np.testing.assert_allclose(grad, a["glogits"], rtol=2e-5, atol=1e-7)

    def test_large_logits_do_not_overflow(self):
        logits = jnp.asarray([[1e30, 0.0], [0.0, 1e30]], jnp.float32)
        for smoothing in (0.0, 0.1):
            term = losses.cross_entropy(smoothing)
            value = term(outputs(logits=logits, labels=jnp.asarray([0, 1])))
            assert jnp.isfinite(value)
            np.testing.assert_allclose(value, smoothing / 2 * 1e30, rtol=1e-5)

    def test_half_precision_logits_give_a_float32_loss(self):
        value = losses.cross_entropy()(outputs(logits=jnp.asarray(LOGITS, jnp.bfloat16)))
        assert value.dtype == jnp.float32

    def test_logits_wider_than_float32_keep_their_precision(self):
        with jax.enable_x64(True):
            value = losses.cross_entropy()(outputs(logits=jnp.asarray(LOGITS, jnp.float64)))
            assert value.dtype == jnp.float64
            np.testing.assert_allclose(value, -log_softmax(LOGITS)[np.arange(7), LABELS].mean(), rtol=1e-14)

    def test_its_gradient_is_the_softmax_less_the_target(self):
        term = losses.cross_entropy()
        gradient = jax.grad(lambda logits: term(outputs(logits=logits)))(jnp.asarray(LOGITS))
        expected = (np.exp(log_softmax(LOGITS)) - np.eye(5)[LABELS]) / 7
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)


class TestTotal:
    def test_terms_are_weighted_in_the_sum_and_reported_unweighted(self):
        terms = [
            losses.Term("a", lambda o: jnp.mean(o.logits), 2.0),
            losses.Term("b", lambda o: jnp.max(o.logits), -0.5),
            losses.Term("c", lambda o: jnp.asarray(3.0)),
        ]
        loss, values = losses.total(terms, outputs())
        assert list(values) == ["a", "b", "c"]
        np.testing.assert_allclose(values["a"], LOGITS.mean(), rtol=1e-5)
        np.testing.assert_allclose(values["b"], LOGITS.max(), rtol=1e-6)
        np.testing.assert_allclose(loss, 2 * LOGITS.mean() - 0.5 * LOGITS.max() + 3, rtol=1e-5)

    def test_a_scheduled_weight_follows_progress_and_compiles_once(self):
        term = losses.Term("a", lambda o: jnp.asarray(4.0), lambda progress: 1.0 - progress)
        traces = []

        @jax.jit
        def loss_at(progress):
            traces.append(progress)
            return losses.total([term], outputs(progress=progress))

        for progress in (0.0, 0.25, 0.75):
            loss, values = loss_at(progress)
            np.testing.assert_allclose(loss, 4 * (1 - progress), rtol=1e-6)
            np.testing.assert_allclose(values["a"], 4.0)
        assert len(traces) == 1

    def test_a_term_sees_features_parameters_and_progress(self):
        def term(o):
            return o.features["stem"].sum() + o.params["w"].sum() + o.progress

        seen = outputs(features={"stem": jnp.ones(2)}, params={"w": jnp.full(3, 2.0)})
        loss, _ = losses.total([losses.Term("a", term)], seen)
        np.testing.assert_allclose(loss, 2 + 6 + 0.25)

    def test_a_single_term_of_weight_one_is_the_loss(self):
        loss, values = losses.total([losses.Term("a", losses.cross_entropy())], outputs())
        assert loss == values["a"]
        assert loss.shape == ()
