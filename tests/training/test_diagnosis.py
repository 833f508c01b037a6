"""Where a step stopped being finite."""

from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bnn_jax import ste
from bnn_jax.binarizers import siman
from bnn_jax.binarizers.base import Binary, WeightBinarizer
from bnn_jax.inspect import binary_layers, trace_layers
from bnn_jax.training import diagnosis
from bnn_jax.training.diagnosis import non_finite_gradients
from bnn_jax.training.state import init_state
from tests.training import toy

MODEL = toy.network(3, weights=siman())
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6, 6, 2)), jnp.float32)


class Outer(nn.Module):
    @nn.compact
    def __call__(self, x, *, train=False, progress=0.0):
        return toy.Network(3, 4, siman(), None, name="body")(x, train=train, progress=progress)


def first_non_finite(model, state, images, progress=0.0):
    layers = binary_layers(trace_layers(model, images.shape[1:]))
    return diagnosis.first_non_finite(model, state, images, layers, progress)


def explain(state, metrics):
    layers = binary_layers(trace_layers(MODEL, IMAGES.shape[1:]))
    return diagnosis.explain(MODEL, state, metrics, IMAGES, layers, 0.0)


@pytest.fixture(scope="module")
def state():
    return init_state(MODEL, optax.sgd(0.1), jax.random.key(0), (6, 6, 2))


def broken(state, layer, leaf):
    """The state with one value of one parameter not a number."""
    params = {name: dict(leaves) for name, leaves in state.params.items()}
    value = params[layer][leaf]
    params[layer][leaf] = value.at[(0,) * value.ndim].set(jnp.nan)
    return state.replace(params=params)


def metrics(state, bad=(), finite_loss=True, finite_state=True):
    names = ["/".join(k.key for k in path) for path, _ in jax.tree_util.tree_leaves_with_path(state.params)]
    assert set(bad) <= set(names)
    return SimpleNamespace(
        finite=jnp.asarray([name not in bad for name in names]),
        finite_loss=jnp.asarray(finite_loss),
        finite_state=jnp.asarray(finite_state),
    )


class TestFirstNonFinite:
    @pytest.mark.parametrize(
        ("layer", "leaf"), [("conv", "scale"), ("norm", "bias"), ("dense", "bias"), ("classifier", "kernel")]
    )
    def test_the_layer_where_it_begins_is_found_though_all_later_ones_are_not_finite_either(self, state, layer, leaf):
        assert first_non_finite(MODEL, broken(state, layer, leaf), IMAGES) == layer

    def test_a_layer_of_a_nested_module_is_named_by_its_whole_path(self, state):
        model = Outer()
        bad = broken(state, "dense", "bias").params
        made = state.replace(
            params={"body": bad}, batch_stats={"body": state.batch_stats}, memory={"body": state.memory}
        )
        assert first_non_finite(model, made, IMAGES) == "body/dense"

    def test_the_forward_pass_is_that_of_the_step_with_projected_weights_at_its_progress(self):
        """A projection that divides by 1 - 2 * progress: half-way through the run the first layer breaks."""

        def quantize(w, params, memory, *, train, progress):
            return Binary(ste.sign(w), jnp.mean(jnp.abs(w.reshape(-1, w.shape[-1])), 0)), memory

        binarizer = WeightBinarizer("pole", quantize, project=lambda w, *, progress: w / (1 - 2 * progress))
        model = toy.network(3, weights=binarizer)
        made = init_state(model, optax.sgd(0.1), jax.random.key(0), (6, 6, 2))
        assert first_non_finite(model, made, IMAGES, progress=0.25) == ""
        assert first_non_finite(model, made, IMAGES, progress=0.5) == "conv"

    def test_it_is_empty_where_all_is_finite(self, state):
        assert first_non_finite(MODEL, state, IMAGES) == ""


class TestNonFiniteGradients:
    def test_parameters_are_named_by_path_in_order(self, state):
        bad = ["classifier/bias", "dense/scale"]
        assert non_finite_gradients(metrics(state, bad), state.params) == bad
        assert non_finite_gradients(metrics(state), state.params) == []


class TestExplain:
    def test_an_output_goes_before_gradients(self, state):
        told = explain(broken(state, "norm", "bias"), metrics(state, ["dense/bias"], False))
        assert told == "the output of layer norm is the first that is not finite"

    def test_gradients_are_named_three_and_then_counted(self, state):
        told = explain(state, metrics(state, ["dense/bias"]))
        assert told == "the forward pass is finite, but not the gradient of dense/bias"
        bad = ["classifier/bias", "classifier/kernel", "conv/kernel", "conv/scale", "dense/bias"]
        told = explain(state, metrics(state, bad))
        assert told.endswith("gradient of classifier/bias, classifier/kernel, conv/kernel and 2 more")

    def test_a_loss_on_its_own_is_told_from_an_update_on_its_own(self, state):
        assert "but the loss is not" in explain(state, metrics(state, finite_loss=False))
        told = explain(state, metrics(state, finite_state=False))
        assert "not the parameters or running statistics after the step" in told
