"""The state of training."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from bnn_jax.binarizers import siman
from bnn_jax.training.state import init_state, init_variables, keep_if
from tests.training import toy


class Plain(nn.Module):
    @nn.compact
    def __call__(self, x, *, train=False, progress=0.0):
        return nn.Dense(2)(x.reshape(x.shape[0], -1)), {}


def test_a_fresh_state_is_at_step_zero_and_healthy_with_the_models_and_the_optimizers_own_initial_values():
    model, transform = toy.network(3, weights=siman()), optax.sgd(0.1, 0.9)
    state = init_state(model, transform, jax.random.key(3), (6, 6, 2))
    assert (int(state.step), state.step.dtype) == (0, jnp.int32)
    assert bool(state.healthy)
    variables = model.init(jax.random.key(3), jnp.zeros((1, 6, 6, 2)))
    for name, collection in state.variables.items():
        jax.tree.map(np.testing.assert_array_equal, collection, variables[name])
    assert set(state.variables) == {"params", "batch_stats", "memory"}
    momenta = jax.tree.leaves(state.opt_state)
    assert [m.shape for m in momenta] == [p.shape for p in jax.tree.leaves(state.params)]
    assert not any(m.any() for m in momenta)


def test_another_key_gives_other_parameters():
    model = toy.network(3, weights=siman())
    one, two = (init_variables(model, jax.random.key(seed), (6, 6, 2))["params"] for seed in (0, 1))
    assert (one["conv"]["kernel"] != two["conv"]["kernel"]).all()


def test_a_model_without_statistics_and_memory_gets_empty_collections():
    state = init_state(Plain(), optax.sgd(0.1), jax.random.key(0), (2, 2, 1))
    assert state.batch_stats == {}
    assert state.memory == {}
    logits, _ = Plain().apply(state.variables, jnp.ones((1, 2, 2, 1)))
    assert logits.shape == (1, 2)


def test_keep_if_chooses_whole_trees_and_lets_no_nan_through():
    new = {"a": jnp.full(3, jnp.nan), "b": jnp.ones((), jnp.int32)}
    old = {"a": jnp.arange(3.0), "b": jnp.zeros((), jnp.int32)}
    kept = keep_if(jnp.asarray(False), new, old)
    np.testing.assert_array_equal(kept["a"], [0, 1, 2])
    assert kept["b"] == 0
    moved = keep_if(jnp.asarray(True), old, new)
    np.testing.assert_array_equal(moved["a"], [0, 1, 2])
    assert moved["b"].dtype == jnp.int32
