"""What README promises of derivatives: every regularizer and binarizer under jvp, which agrees with the gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax import binarizers, regularizers
from bnn_jax.binarizers import siman_activations


def normal(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


W, V = normal(0, (3, 3, 6, 4)), normal(1, (3, 3, 6, 4))
MAP, NEXT, MATRIX = normal(2, (2, 8, 8, 3)), normal(3, (2, 4, 4, 5)), normal(4, (2, 4, 3))
LOGITS, TAUGHT = normal(5, (3, 7)), normal(6, (3, 7))

REGULARIZERS = {
    "adaptive_avg_pool": (lambda x: regularizers.adaptive_avg_pool(x, (3, 3)), MAP),
    "exact_norm": (regularizers.exact_norm, MATRIX),
    "kl_divergence": (lambda s: regularizers.kl_divergence(s, TAUGHT), LOGITS),
    "kurtosis": (lambda w: regularizers.kurtosis({"w": w}), W),
    "lipschitz_retention": (lambda x: regularizers.lipschitz_retention([x, NEXT], [MAP, 2 * NEXT]), MAP + 1),
    "power_iteration_norm": (lambda m: regularizers.power_iteration_norm(m, 3), MATRIX),
    "raw_weight_mimicking": (lambda w: regularizers.raw_weight_mimicking(w, V), W),
    "retention_matrix": (lambda x: regularizers.retention_matrix(x, NEXT), MAP),
    "retention_norm": (lambda x: regularizers.retention_norm(x, NEXT), MAP),
    "ridge": (regularizers.ridge, W),
    "soft_cross_entropy": (lambda s: regularizers.soft_cross_entropy(s, TAUGHT), LOGITS),
    "unit_magnitude": (regularizers.unit_magnitude, W),
    "weight_kurtosis": (lambda w: regularizers.weight_kurtosis(w, per_channel=True), W),
    "weight_mimicking": (lambda w: regularizers.weight_mimicking(w, V), W),
}
# Terms of the loss are those same functions; the rest are no functions of arrays.
OTHERS = {"RELEASED_TARGETS", "KurtosisTerm", "released_weight"}

WEIGHTS = {
    "siman": binarizers.siman(),
    "irnet": binarizers.irnet(),
    "reactnet": binarizers.reactnet(),
    "rebnn": binarizers.rebnn(),
    "rebnn, released": binarizers.rebnn("released"),
}
ACTIVATIONS = {"irnet_activations": binarizers.irnet_activations(), "rsign": binarizers.rsign()}


def agree(function, x):
    """The derivative along a direction, forwards and backwards."""

    @jax.jit
    def both(x, direction):
        value, forwards = jax.jvp(function, (x,), (direction,))
        weights = jnp.linspace(-1.0, 2.0, value.size).reshape(value.shape)
        (backwards,) = jax.vjp(function, x)[1](weights)
        return jnp.sum(forwards * weights), jnp.sum(backwards * direction)

    found = [float(one) for one in both(x, normal(7, x.shape))]
    assert found[0] != 0
    np.testing.assert_allclose(*found, 1e-4)


@pytest.mark.filterwarnings("ignore:the raw form of weight mimicking")
@pytest.mark.parametrize("name", REGULARIZERS)
def test_regularizers(name):
    agree(*REGULARIZERS[name])


def test_none_of_them_is_left_out():
    assert {*REGULARIZERS} == {n for n in regularizers.__all__ if not n.endswith("_term")} - OTHERS


@pytest.mark.parametrize("name", WEIGHTS)
def test_weight_binarizers_and_what_they_add_to_the_loss(name):
    binarizer = WEIGHTS[name]
    params, memory = binarizer.init_params(W), binarizer.init_memory(W)
    if "gamma" in memory:
        memory = {**memory, "gamma": memory["gamma"] + 0.3}

    def both(w):
        return binarizer.apply(w, params, memory) + binarizer.penalty(w, params, memory, progress=0.5)

    agree(both, W)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    binarizer = ACTIVATIONS[name]
    agree(lambda x: binarizer.apply(x, binarizer.init_params(3), progress=0.5), MAP)


def test_no_binarizer_is_left_out():
    listed = {*WEIGHTS, *ACTIVATIONS, "siman_activations"}
    assert {n for n in binarizers.__all__ if getattr(getattr(binarizers, n), "cache_info", None)} <= listed


def test_the_exception_that_readme_names_is_one():
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(lambda x: siman_activations().apply(x, {}, progress=0.5), (MAP,), (MAP,))
