"""One training step, over a mapped axis that `jax.vmap` provides."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bnn_jax import losses
from bnn_jax.binarizers import siman
from bnn_jax.training import latent
from tests.training.steps import EPOCHS, IMAGE, RATE, STEPS, Recorder, batch, train_setup, zero


class TestBatchSplit:
    @pytest.mark.parametrize("parts", [2, 4])
    def test_any_split_gives_the_same_state_and_metrics(self, parts):
        """The sums of a split batch are rounded in another order, by some 6e-8 of values around 1.

        Five steps at a rate of 0.5 with momentum amplify that.
        """
        setup = train_setup(siman())
        results = []
        for split in (1, parts):
            state, metrics = setup.state, []
            for seed in range(5):
                state, reported = setup.step(state, batch(seed, parts=split))
                metrics.append(reported)
            results.append((state, metrics))
        (whole, expected), (state, found) = results
        assert int(state.step) == 5
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), state, whole)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), found, expected)

    def test_every_device_learns_from_every_part_of_the_batch(self):
        setup = train_setup(siman())
        one, other = batch(0, parts=2), batch(0, parts=2)
        other["label"][1] = (other["label"][1] + 1) % 3
        first, second = (setup.step(setup.state, b)[0].params["classifier"]["kernel"] for b in (one, other))
        assert np.abs(first - second).max() > 1e-3

    def test_augmentation_gets_the_position_of_each_part_in_the_batch_and_the_step(self):
        def augment(key, step, first, images):
            # Pixels that tell the position: the classifier's inputs follow.
            position = (first + jnp.arange(images.shape[0])).astype(jnp.float32)
            noise = jax.random.uniform(jax.random.fold_in(key, step), IMAGE)
            return position[:, None, None, None] * noise[None] + images / 255

        setup = train_setup(None, augment=augment)
        whole, split = (setup.step(setup.state, batch(parts=parts))[1].loss for parts in (1, 4))
        np.testing.assert_allclose(whole, split, rtol=1e-5)
        later = setup.state.replace(step=jnp.ones((), jnp.int32))
        assert abs(float(setup.step(later, batch())[1].loss) - float(whole)) > 1e-4


class TestMetrics:
    def test_loss_terms_and_accuracy_are_means_over_the_batch_before_the_update(self):
        terms = (
            losses.Term("cross_entropy", losses.cross_entropy(), 2.0),
            losses.Term("size", lambda o: jnp.mean(o.logits**2), 0.5),
        )
        setup = train_setup(None, terms=terms)
        data = batch(parts=2)
        images = data["image"].reshape(8, *IMAGE).astype(np.float32) / 128 - 1
        (logits, _), _ = setup.model.apply(setup.state.variables, images, train=True, mutable=["batch_stats"])
        logits, labels = np.asarray(logits, np.float64), data["label"].reshape(8)
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        _, metrics = setup.step(setup.state, data)
        expected = -log_p[np.arange(8), labels].mean()
        np.testing.assert_allclose(metrics.terms["cross_entropy"], expected, rtol=1e-5)
        np.testing.assert_allclose(metrics.terms["size"], (logits**2).mean(), rtol=1e-5)
        np.testing.assert_allclose(metrics.loss, 2 * expected + 0.5 * (logits**2).mean(), rtol=1e-5)
        np.testing.assert_allclose(metrics.accuracy, (logits.argmax(-1) == labels).mean())
        assert metrics.terms["binarizers"] == 0

    def test_gradients_are_those_of_the_mean_loss(self):
        """Against plain `jax.grad` over the whole batch: neither multiplied nor divided by the parts."""
        setup = train_setup(None)
        data = batch(parts=4)
        images = data["image"].reshape(8, *IMAGE).astype(np.float32) / 128 - 1

        def loss(params):
            variables = {**setup.state.variables, "params": params}
            (logits, _), _ = setup.model.apply(variables, images, train=True, mutable=["batch_stats"])
            labels = data["label"].reshape(8)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        grads = jax.jit(jax.grad(loss))(setup.state.params)
        state, _ = setup.step(setup.state, data)
        expected = jax.tree.map(lambda p, g: p - RATE * g, setup.state.params, grads)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), state.params, expected)


class TestBinarizerHooks:
    def test_the_latent_weight_is_projected_before_the_forward_pass_and_stays_so(self):
        recorder = Recorder()
        setup = train_setup(recorder.record(), terms=(losses.Term("none", zero),), rate=0.0)
        state, metrics = setup.step(setup.state, batch())
        size = 0.0
        for layer in ("conv", "dense"):
            projected = 0.5 * np.asarray(setup.state.params[layer]["kernel"])
            np.testing.assert_array_equal(state.params[layer]["kernel"], projected)
            np.testing.assert_array_equal(state.memory[layer]["binarizer"]["seen"], projected)
            size += np.sum(projected.astype(np.float64) ** 2)
        np.testing.assert_allclose(metrics.terms["binarizers"], 0.25 * size, rtol=1e-5)
        np.testing.assert_array_equal(state.params["classifier"]["kernel"], setup.state.params["classifier"]["kernel"])

    def test_the_penalty_joins_the_loss_and_its_gradient_moves_the_weight(self):
        setup = train_setup(Recorder().record(), terms=(losses.Term("none", zero),))
        state, metrics = setup.step(setup.state, batch())
        np.testing.assert_allclose(metrics.loss, metrics.terms["binarizers"], rtol=1e-6)
        for layer in ("conv", "dense"):
            # d/dw 0.25 w^2 = 0.5 w, at the projected weight.
            projected = 0.5 * np.asarray(setup.state.params[layer]["kernel"])
            expected = projected - RATE * 0.5 * projected
            np.testing.assert_allclose(state.params[layer]["kernel"], expected, rtol=1e-5)

    def test_memory_moves_on_with_the_projected_and_the_updated_weight_and_their_gradient(self):
        setup = train_setup(Recorder().record())
        state, _ = setup.step(setup.state, batch())
        for layer in ("conv", "dense"):
            memory = state.memory[layer]["binarizer"]
            projected = 0.5 * np.asarray(setup.state.params[layer]["kernel"])
            np.testing.assert_array_equal(memory["old"], projected)
            np.testing.assert_array_equal(memory["new"], state.params[layer]["kernel"])
            np.testing.assert_array_equal(memory["old_scale"], setup.state.params[layer]["scale"])
            np.testing.assert_array_equal(memory["new_scale"], state.params[layer]["scale"])
            for old, new, grad in (("old", "new", "grad"), ("old_scale", "new_scale", "grad_scale")):
                assert np.abs(memory[grad]).max() > 0
                expected = memory[old] - RATE * memory[grad]
                np.testing.assert_allclose(memory[new], expected, rtol=1e-5, atol=1e-6)
            assert memory["updates"] == 1
        state, _ = setup.step(state, batch(1))
        assert state.memory["conv"]["binarizer"]["updates"] == 2

    def test_progress_is_that_of_the_epoch_for_projection_penalty_and_loss_weights_alike(self):
        terms = (losses.Term("ones", lambda o: 1.0 + zero(o), lambda progress: 10.0 * progress),)
        # A penalty of the progress alone, twice: there are two binary layers.
        setup = train_setup(Recorder(0.0).record(), terms=terms, rate=0.0)
        state = setup.state
        for step in range(EPOCHS * STEPS):
            before = state.params["conv"]["kernel"]
            state, metrics = setup.step(state, batch(step))
            progress = (step // STEPS) / EPOCHS
            np.testing.assert_allclose(metrics.terms["binarizers"], 2 * progress, rtol=1e-6)
            np.testing.assert_allclose(metrics.loss, 12 * progress, rtol=1e-6)
            assert metrics.terms["ones"] == 1.0
            np.testing.assert_allclose(state.params["conv"]["kernel"], before * (0.5 + progress), rtol=1e-6)

    def test_a_whole_run_traces_the_step_once(self):
        recorder = Recorder()
        setup = train_setup(recorder.record())
        state, counts = setup.state, []
        for step in range(EPOCHS * STEPS):
            state, _ = setup.step(state, batch(step))
            counts.append(dict(recorder.traces))
        # One call for each of the two binary layers (differentiation traces them once more, within the step).
        assert counts[0]["project"] == counts[0]["update"] == 2
        assert all(count == counts[0] for count in counts)
        assert setup.step._cache_size() == 1

    def test_the_siman_code_that_is_remembered_is_that_of_the_projected_weight(self):
        binarizer = siman()
        setup = train_setup(binarizer)
        state, _ = setup.step(setup.state, batch())
        kernel = setup.state.params["conv"]["kernel"]
        projected = binarizer.project(kernel, progress=0.0)
        assert np.abs(projected - kernel).max() > 1e-3
        expected = binarizer.init_memory(projected)["code"]
        np.testing.assert_array_equal(state.memory["conv"]["binarizer"]["code"], expected)


class TestLatent:
    def test_layers_that_are_not_binarized_have_no_part_in_it(self):
        params = {"plain": {"kernel": jnp.ones((2, 2))}}
        assert latent.project(params, {}, 0.5) is params
        assert latent.penalty(params, {}, {}, 0.5) == 0
        assert latent.update_memory({}, {}, params, params, params, {}) == {}
        exposed = latent.expose(params, {}, {}, 0.5)
        assert (exposed.binary, exposed.memory) == ({}, {})
        assert latent.pull_back(exposed, params, {}) is params
