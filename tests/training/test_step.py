"""One training step and one evaluation step, over a mapped axis that `jax.vmap` provides."""

from functools import cache, partial
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bnn_jax import losses, ste
from bnn_jax.binarizers import WeightBinarizer, siman, siman_activations
from bnn_jax.binarizers.base import Binary
from bnn_jax.inspect import binary_layers, trace_layers
from bnn_jax.training import latent
from bnn_jax.training.diagnosis import non_finite_gradients
from bnn_jax.training.experiment import synchronized
from bnn_jax.training.state import init_state
from bnn_jax.training.step import AXIS, make_eval_step, make_train_step
from tests.training import toy

EPOCHS, STEPS = 4, 3  # of each epoch
RATE = 0.5
IMAGE = (6, 6, 2)
CROSS_ENTROPY = losses.Term("cross_entropy", losses.cross_entropy())


def scale_pixels(key, step, first, images):
    """Stands for augmentation: no chance in it; images of 255 throughout become NaN."""
    del key, step, first
    return jnp.where(jnp.min(images) == 255, jnp.nan, images.astype(jnp.float32) / 128 - 1)


@cache  # compiling is what takes time here
def train_setup(weights=None, *, terms=(CROSS_ENTROPY,), rate=RATE, augment=scale_pixels, model=None):
    model = model or toy.network(3, weights=weights, activations=siman_activations())
    transform = optax.sgd(rate, 0.9)
    layers = binary_layers(trace_layers(model, IMAGE))
    step = make_train_step(
        synchronized(model),
        transform,
        terms,
        layers,
        augment,
        key=jax.random.key(5),
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
    )
    state = jax.jit(partial(init_state, model, transform, image_shape=IMAGE))(jax.random.key(0))
    # The outputs must not depend on the mapped axis: vmap refuses if one was not reduced over it.
    mapped = jax.jit(jax.vmap(step, in_axes=(None, 0), out_axes=None, axis_name=AXIS))
    return SimpleNamespace(model=model, layers=layers, state=state, step=mapped)


def batch(seed=0, examples=8, parts=1):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 255, (examples, *IMAGE), dtype=np.uint8)
    labels = rng.integers(0, 3, examples).astype(np.int32)
    return {"image": images.reshape(parts, -1, *IMAGE), "label": labels.reshape(parts, -1)}


def poisoned():
    made = batch()
    return {**made, "image": np.full_like(made["image"], 255)}


def assert_equal(found, expected):
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))


class Recorder:
    """A binarizer that writes down all it is given, and how often it was traced."""

    def __init__(self, weight=0.25):
        self.traces = {"penalty": 0, "project": 0, "update": 0}
        self.weight = weight

    def record(self):
        return WeightBinarizer(
            "recorder", self.quantize, self.init_params, self.init_memory, self.project, self.penalty, self.update
        )

    def quantize(self, w, params, memory, *, train, progress):
        return Binary(ste.sign(w, ste.clip), params["scale"]), {**memory, "seen": w}

    def init_params(self, w):
        return {"scale": jnp.ones(w.shape[-1])}

    def init_memory(self, w):
        names = ("seen", "old", "new", "grad")
        scales = {name: jnp.zeros(w.shape[-1]) for name in ("old_scale", "new_scale", "grad_scale")}
        return {**{name: jnp.zeros_like(w) for name in names}, **scales, "updates": jnp.zeros((), jnp.int32)}

    def project(self, w, *, progress):
        self.traces["project"] += 1
        return w * (0.5 + progress)

    def penalty(self, w, params, memory, *, progress):
        self.traces["penalty"] += 1
        return self.weight * jnp.sum(w**2) + 0.0 * params["scale"].sum() + progress

    def update(self, memory, old, new, grads):
        self.traces["update"] += 1
        return {
            "seen": memory["seen"],
            **{"old": old[0], "new": new[0], "grad": grads[0]},
            **{"old_scale": old[1]["scale"], "new_scale": new[1]["scale"], "grad_scale": grads[1]["scale"]},
            "updates": memory["updates"] + 1,
        }


def zero(o):
    """A term without a gradient anywhere."""
    return 0.0 * jnp.sum(o.logits)


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

    def test_a_batch_of_nan_leaves_every_leaf_as_it_was_and_so_do_later_good_ones(self):
        setup = train_setup(siman())
        state, metrics = setup.step(setup.state, batch())
        assert state.healthy
        assert metrics.finite.all()
        assert metrics.finite_loss
        assert metrics.finite_state
        metrics, later = self.check_nothing_moves(setup, state, poisoned())
        assert not metrics.finite_loss
        assert not metrics.finite.all()
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


class TestLatent:
    def test_layers_that_are_not_binarized_have_no_part_in_it(self):
        params = {"plain": {"kernel": jnp.ones((2, 2))}}
        assert latent.project(params, {}, 0.5) is params
        assert latent.penalty(params, {}, {}, 0.5) == 0
        assert latent.update_memory({}, {}, params, params, params) == {}


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
