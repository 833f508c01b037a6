"""Binarizers that see the gradient with respect to their code: what the step averages, and what it makes of it."""

import signal
from dataclasses import replace
from functools import partial
from operator import itemgetter

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.errors import ScopeParamNotFoundError

from bnn_jax import losses
from bnn_jax.binarizers import WeightBinarizer, reactnet, rebnn, siman, siman_activations
from bnn_jax.config import component
from bnn_jax.layers import BinaryDense
from bnn_jax.training import latent, optimizer
from bnn_jax.training.parallel import parallelize
from tests.reference import rebnn as reference
from tests.training import toy
from tests.training.steps import CROSS_ENTROPY, IMAGE, RATE, batch, scale_pixels, train_setup

LAYERS = ("conv", "dense")
GAMMA = 0.3


def direct(outputs):
    """A term in which the images meet the latent weights and the scales directly, not through the layers."""
    conv = outputs.params["conv"]
    return jnp.mean(outputs.logits**2) * (jnp.sum(conv["kernel"] ** 3) + jnp.sum(conv["scale"]))


TERMS = (CROSS_ENTROPY, losses.Term("direct", direct, 0.1))


def started(setup):
    """A state in which gamma holds, and some latent weights lie beyond the mask."""
    params, memory = setup.state.params, setup.state.memory
    for layer in LAYERS:
        params = {**params, layer: {**params[layer], "kernel": 3 * params[layer]["kernel"]}}
        remembered = {**memory[layer]["binarizer"], "gamma": jnp.full_like(params[layer]["scale"], GAMMA)}
        memory = {**memory, layer: {"binarizer": remembered}}
    return setup.state.replace(params=params, memory=memory)


def whole_batch(data):
    return scale_pixels(None, None, None, data["image"].reshape(-1, *IMAGE)), data["label"].ravel()


def loss_of(setup, state, data, model, params, own):
    images, labels = whole_batch(data)
    (logits, features), _ = model.apply(
        {**state.variables, "params": params}, images, train=True, mutable=["batch_stats", "memory"]
    )
    return losses.total(TERMS, losses.Outputs(logits, labels, features, own, 0.0))[0]


class TestAgainstPlainDifferentiation:
    @pytest.fixture(scope="class", name="made")
    @staticmethod
    def fixture_made():
        setup = train_setup(rebnn(), terms=TERMS)
        state = started(setup)
        return setup, state, {parts: setup.step(state, batch(parts=parts)) for parts in (1, 4)}

    @pytest.mark.parametrize("parts", [1, 4])
    def test_the_update_is_that_of_the_whole_loss(self, made, parts):
        setup, state, results = made

        def loss(params):
            penalty = latent.penalty(params, state.memory, setup.layers, 0.0)
            return loss_of(setup, state, batch(), setup.model, params, params) + penalty

        grads = jax.jit(jax.grad(loss))(state.params)
        expected = jax.tree.map(lambda p, g: p - RATE * g, state.params, grads)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), results[parts][0].params, expected)
        assert np.abs(grads["conv"]["kernel"]).max() > 1e-3

    @pytest.mark.parametrize("parts", [1, 4])
    def test_memory_moves_by_the_gradient_of_the_binary_weight_over_the_whole_batch(self, made, parts):
        """Which is that of a full-precision network's kernels, where these are the binary weights."""
        setup, state, results = made
        plain = toy.network(3, activations=siman_activations())
        kernels = {layer: rebnn().apply(state.params[layer]["kernel"], state.params[layer]) for layer in LAYERS}
        params = {**state.params, **{k: {**state.params[k], "kernel": v} for k, v in kernels.items()}}
        grads = jax.jit(jax.grad(lambda p: loss_of(setup, state, batch(), plain, p, state.params)))(params)
        beyond = False
        for layer in LAYERS:
            old, new = state.params[layer]["kernel"], results[parts][0].params[layer]["kernel"]
            g = np.asarray(grads[layer]["kernel"], np.float64)
            found = results[parts][0].memory[layer]["binarizer"]
            np.testing.assert_allclose(found["peak"], np.abs(g).reshape(-1, g.shape[-1]).max(0), 1e-4)
            np.testing.assert_allclose(found["gamma"], reference.gamma(old, new, g), 1e-4)
            assert np.asarray(found["gamma"]).any()
            unmasked = np.abs(np.where(np.abs(old) <= 1, g, 0)).reshape(-1, g.shape[-1]).max(0)
            beyond |= bool((unmasked < 0.99 * np.asarray(found["peak"])).any())
        # Somewhere the largest is of a weight whose own gradient is masked.
        assert beyond

    def test_the_penalty_is_reported_apart(self, made):
        _, state, results = made
        size = 0.0
        for layer in LAYERS:
            w, alpha = (np.asarray(state.params[layer][name], np.float64) for name in ("kernel", "scale"))
            size += reference.paper(w, alpha, np.full_like(alpha, GAMMA), np.zeros_like(w)).reconstruction
        np.testing.assert_allclose(results[4][1].terms["binarizers"], size, 1e-5)


def averaged(binarizer, terms=(CROSS_ENTROPY,)):
    """How many numbers devices average in a step."""
    setup = train_setup(binarizer, terms=terms)
    jaxpr = jax.make_jaxpr(parallelize(setup.unmapped))(setup.state, batch())
    return sum(size for size in _sizes(jaxpr.jaxpr))


def _sizes(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name.startswith("psum"):
            yield from (v.aval.size for v in equation.invars)
        for value in jax.tree.leaves(equation.params, is_leaf=lambda v: hasattr(v, "eqns") or hasattr(v, "jaxpr")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _sizes(inner)


class TestCost:
    def test_no_more_is_averaged_than_without(self):
        kernels = 3 * 3 * 2 * 4 + 4 * 8
        plain = averaged(rebnn("constant"))
        assert plain > kernels
        assert averaged(rebnn()) == plain == averaged(reactnet()) + 4 + 8

    def test_but_for_terms_that_look_at_latent_weights_themselves(self):
        other = losses.Term("size", lambda outputs: jnp.mean(outputs.logits**2))
        assert averaged(rebnn(), TERMS) == averaged(rebnn(), (CROSS_ENTROPY, other)) + 3 * 3 * 2 * 4 + 4


class Own(nn.Module):
    """A layer of somebody's own, which knows nothing of the collection of binary weights."""

    weights: WeightBinarizer

    @nn.compact
    def __call__(self, x, *, train=False, progress=0.0):
        kernel = self.param("kernel", nn.initializers.normal(0.3), (x.shape[-1], 3))
        learned = {"scale": self.param("scale", lambda _: self.weights.init_params(kernel)["scale"])}
        memory = self.variable("memory", "binarizer", self.weights.init_memory, kernel)
        return x @ self.weights.apply(kernel, learned, memory.value)


class OwnNetwork(nn.Module):
    weights: WeightBinarizer

    @nn.compact
    def __call__(self, x, *, train=False, progress=0.0):
        return Own(self.weights, name="own")(x.reshape(x.shape[0], -1)), {}


def test_a_layer_that_would_not_see_binary_weights_from_outside_is_refused():
    model = OwnNetwork(rebnn())
    setup = train_setup(rebnn(), model=model)
    with pytest.raises(
        ValueError, match=r'"kernel".*Have the layer read code and scale from the collection \'binary\''
    ):
        setup.step(setup.state, batch())
    # Where no gradient of the code is asked for, it may do as it likes.
    setup = train_setup(rebnn("constant"), model=OwnNetwork(rebnn("constant")))
    assert setup.step(setup.state, batch())[0].healthy


@pytest.mark.parametrize("binarizer", [siman(), reactnet()], ids=lambda binarizer: binarizer.name)
@pytest.mark.parametrize("parts", [1, 4])
def test_binarizing_outside_of_the_layers_changes_nothing(binarizer, parts):
    """Of one that projects and remembers, and of one that does neither."""
    setups = [train_setup(one) for one in (binarizer, replace(binarizer, needs_code_gradient=True))]
    states = [setup.state for setup in setups]
    for step in range(3):
        states = [setup.step(state, batch(step, parts=parts))[0] for setup, state in zip(setups, states, strict=True)]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), *states)


class Rematerialized(nn.Module):
    weights: WeightBinarizer

    @nn.compact
    def __call__(self, x, *, train=False, progress=0.0):
        return nn.remat(Own)(self.weights, name="own")(x.reshape(x.shape[0], -1)), {}


def test_so_is_one_within_a_lift():
    setup = train_setup(rebnn(), model=Rematerialized(rebnn()))
    with pytest.raises(ValueError, match="Have the layer read code and scale"):
        setup.step(setup.state, batch())


class Strange(BinaryDense):
    """A layer with another parameter, which is made only in training."""

    @nn.compact
    def __call__(self, x, *, train=False, progress=0.0):
        if train:
            x = x * self.param("warmth", nn.initializers.ones, ())
        return super().__call__(x, train=train, progress=progress)


class Small(nn.Module):
    layer: type = BinaryDense
    only_in_training: str = ""

    @nn.compact
    def __call__(self, x, *, train=False, progress=0.0):
        if self.only_in_training and train:
            x = x * self.param(self.only_in_training, nn.initializers.ones, ())
        return self.layer(3, rebnn(), name="dense")(x.reshape(x.shape[0], -1), train=train, progress=progress), {}


@pytest.mark.parametrize(
    ("model", "name"), [(Small(only_in_training="temperature"), "temperature"), (Small(Strange), "warmth")]
)
def test_another_parameter_that_is_missing_is_not_laid_to_the_binarizer(model, name):
    setup = train_setup(rebnn(), model=model)
    with pytest.raises(ScopeParamNotFoundError, match=name):
        setup.step(setup.state, batch())


def test_seeds_side_by_side_are_seeds_one_by_one():
    setup = train_setup(rebnn(), model=Small(), rate=5.0)
    states = [setup.state, setup.step(setup.state, batch(1))[0]]
    assert np.asarray(states[1].memory["dense"]["binarizer"]["gamma"]).any()
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    together, _ = jax.vmap(setup.step, in_axes=(0, None))(stacked, batch(parts=2))
    for i, state in enumerate(states):
        alone, _ = setup.step(state, batch(parts=2))
        found = jax.tree.map(itemgetter(i), together)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), found, alone)


def test_a_run_that_is_stopped_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    made = toy.config(epochs=2)
    made.model.weights = component(rebnn)
    # Long steps without momentum: some bit flips in every one of them, so that gamma holds wherever the run is stopped.
    made.optimizer.transform, made.optimizer.learning_rate = component(optimizer.adam, b1=0.0), 0.1
    made.run.telemetry_every = 0
    monkeypatch.setattr(toy.Ambush, "read", 0)
    toy.run(made, tmp_path / "whole")
    monkeypatch.setattr(toy.Ambush, "read", 0)
    monkeypatch.setenv("BNN_TOY_AMBUSH", "SIGTERM@13")
    assert toy.run(made, tmp_path / "stopped").signal == signal.SIGTERM
    monkeypatch.delenv("BNN_TOY_AMBUSH")
    stopped, _ = toy.stored(tmp_path / "stopped", made)
    assert 0 < int(stopped.step) < 20
    assert stopped.memory["conv"]["binarizer"]["gamma"].any()
    toy.run(made, tmp_path / "stopped")
    toy.assert_same_run(tmp_path / "stopped", tmp_path / "whole", made)
