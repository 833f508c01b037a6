"""Measures of codes, against hand-made sequences and limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.binarizers import measures

# Eight bits over three steps: still, flipped at the second step, at the third, at both; twice each.
FIRST = jnp.array([[1, 1], [1, 1], [1, 1], [1, 1]], jnp.int8)
SECOND = jnp.array([[1, 1], [-1, -1], [1, 1], [-1, -1]], jnp.int8)
THIRD = jnp.array([[1, 1], [-1, -1], [-1, -1], [1, 1]], jnp.int8)


def test_flip_ratio_of_a_hand_made_sequence():
    assert measures.flip_ratio(FIRST, FIRST) == 0
    assert measures.flip_ratio(FIRST, SECOND) == 0.5
    assert measures.flip_ratio(SECOND, THIRD) == 0.5
    assert measures.flip_ratio(FIRST, -FIRST) == 1


def test_only_bits_that_flip_twice_in_a_row_flip_back():
    assert measures.flip_back_ratio(FIRST, SECOND, THIRD) == 0.25
    assert measures.flip_back_ratio(FIRST, SECOND, SECOND) == 0
    assert measures.flip_back_ratio(FIRST, -FIRST, FIRST) == 1


def test_flip_back_never_exceeds_either_flip_ratio():
    a, b, c = np.sign(np.random.default_rng(0).normal(size=(3, 50, 4)))
    back = measures.flip_back_ratio(a, b, c)
    assert back <= min(measures.flip_ratio(a, b), measures.flip_ratio(b, c))


def test_unmoved_share_counts_equal_entries():
    before = jnp.array([0.0, 1.0, 2.0, 3.0])
    assert measures.unmoved_share(before, before.at[2].add(1e-6)) == 0.75


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.float32, jnp.bfloat16])
def test_entropy_limits(dtype):
    half = jnp.tile(jnp.array([[1], [-1]], dtype), (8, 3))
    assert measures.bit_entropy(half) == 1
    assert measures.bit_entropy(jnp.ones((16, 3), dtype)) == 0
    assert measures.bit_entropy(-jnp.ones((16, 3), dtype)) == 0


def test_entropy_is_a_mean_over_filters_not_of_the_layer():
    # Each filter is constant, the layer as a whole is balanced.
    code = jnp.array([[1, -1]] * 4, jnp.int8)
    assert measures.bit_entropy(code) == 0


def test_entropy_of_a_quarter():
    code = jnp.array([[[1, 1], [-1, 1]], [[-1, -1], [-1, -1]]], jnp.int8)  # a quarter and a half of +1
    quarter = -(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75))
    np.testing.assert_allclose(measures.bit_entropy(code), (quarter + 1) / 2, rtol=1e-6)


def test_measures_are_float32_scalars_under_jit():
    for value in (
        jax.jit(measures.flip_ratio)(FIRST, SECOND),
        jax.jit(measures.flip_back_ratio)(FIRST, SECOND, THIRD),
        jax.jit(measures.bit_entropy)(THIRD),
    ):
        assert value.shape == ()
        assert value.dtype == jnp.float32
