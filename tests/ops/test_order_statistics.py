"""Order statistics against sorting in NumPy."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bnn_jax.ops import order, selection

SHAPES = [(2, 1), (9, 3), (27, 4), (64, 5), (576, 3)]
# Ties, zeros of both signs, and any other magnitude.
VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0, 2.0]),
    st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False),
)
columns = st.sampled_from(SHAPES).flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=VALUES))


# Compiled once per shape, so that many examples are quick.
jit_mask, jit_above, jit_percentiles = map(jax.jit, (order.top_mask, order.above, order.percentiles))
jit_sorted = [jax.jit(partial(order._mask_by_sorting, ties=ties)) for ties in (False, True)]
jit_all, jit_counted = jax.jit(order._all_by_sorting), jax.jit(selection.of_all_with_next)


def top_mask(x, count):
    mask = np.zeros(x.shape, bool)
    for column, k in enumerate(np.broadcast_to(count, x.shape[1:])):
        mask[np.argsort(-x[:, column], kind="stable")[:k], column] = True
    return mask


class TestTopMask:
    @given(columns, st.data())
    @settings(max_examples=60)
    def test_the_largest_of_each_column_with_ties_to_the_lower_index(self, x, data):
        count = data.draw(st.integers(1, x.shape[0]))
        actual = np.asarray(jit_mask(jnp.asarray(x), count))
        assert actual.dtype == bool
        np.testing.assert_array_equal(actual, top_mask(x, count))

    @given(columns, st.data())
    @settings(max_examples=60)
    def test_a_count_per_column(self, x, data):
        count = np.array(data.draw(st.lists(st.integers(1, x.shape[0]), min_size=x.shape[1], max_size=x.shape[1])))
        actual = jit_mask(jnp.asarray(x), jnp.asarray(count))
        np.testing.assert_array_equal(np.asarray(actual), top_mask(x, count))

    @pytest.mark.parametrize("n", [2, 3, 4608])
    def test_constant_columns(self, n):
        actual = np.asarray(order.top_mask(jnp.ones((n, 2)), n // 2))
        np.testing.assert_array_equal(actual[:, 0], np.arange(n) < n // 2)

    @pytest.mark.parametrize("shape", [(1152, 7), (4608, 3)])
    def test_large_columns_of_continuous_and_of_quantized_values(self, shape):
        x = np.abs(np.random.default_rng(0).laplace(size=shape)).astype(np.float32)
        for values in (x, np.round(4 * x) / 4):
            actual = order.top_mask(jnp.asarray(values), shape[0] // 2)
            np.testing.assert_array_equal(np.asarray(actual), top_mask(values, shape[0] // 2))

    def test_neighbouring_floats_are_told_apart(self):
        one = np.float32(1)
        x = np.array([[one, np.nextafter(one, np.float32(2)), one, np.nextafter(one, np.float32(0))]], np.float32).T
        np.testing.assert_array_equal(np.asarray(order.top_mask(jnp.asarray(x), 2))[:, 0], [1, 1, 0, 0])

    def test_jit_and_vmap(self):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 27, 4)), jnp.float32)
        expected = np.stack([top_mask(np.asarray(member), 13) for member in x])
        np.testing.assert_array_equal(np.asarray(jax.vmap(lambda v: order.top_mask(v, 13))(x)), expected)
        np.testing.assert_array_equal(np.asarray(jax.jit(order.top_mask)(x[0], 13)), expected[0])


class TestAbove:
    @given(columns, st.data())
    @settings(max_examples=60)
    def test_what_exceeds_the_entry_of_the_sorted_column(self, x, data):
        rank = data.draw(st.integers(0, x.shape[0] - 1))
        np.testing.assert_array_equal(np.asarray(jit_above(jnp.asarray(x), rank)), x > np.sort(x, axis=0)[rank])

    def test_a_rank_per_column(self):
        x = np.random.default_rng(0).normal(size=(27, 4)).astype(np.float32)
        rank = np.array([0, 13, 26, 5])
        actual = order.above(jnp.asarray(x), jnp.asarray(rank))
        np.testing.assert_array_equal(np.asarray(actual), x > np.sort(x, axis=0)[rank, np.arange(4)])


class TestBySorting:
    """The forms for accelerators, run here as well."""

    @given(columns, st.data())
    @settings(max_examples=60)
    def test_masks_are_those_of_counting(self, x, data):
        rank = np.array(data.draw(st.lists(st.integers(0, x.shape[0] - 1), min_size=x.shape[1], max_size=x.shape[1])))
        above, top = (np.asarray(form(jnp.asarray(x), jnp.asarray(rank))) for form in jit_sorted)
        np.testing.assert_array_equal(above, x > np.sort(x, axis=0)[rank, np.arange(x.shape[1])])
        np.testing.assert_array_equal(top, top_mask(x, x.shape[0] - rank))

    @given(columns, st.data())
    @settings(max_examples=40)
    def test_values_and_their_successors_are_those_of_counting(self, x, data):
        ranks = jnp.asarray([data.draw(st.integers(0, x.size - 1)) for _ in range(2)])
        for counted, found in zip(jit_counted(jnp.asarray(x), ranks), jit_all(jnp.asarray(x), ranks), strict=True):
            np.testing.assert_array_equal(np.asarray(counted), np.asarray(found))


class TestPercentiles:
    @given(
        hnp.arrays(np.float32, st.sampled_from([(2, 1), (27, 4), (72, 16)]), elements=st.floats(0, 1e3, width=32)),
        st.lists(st.floats(0, 100), min_size=2, max_size=2),
    )
    @settings(max_examples=40)
    def test_they_interpolate_linearly_over_all_entries_as_numpy_does(self, x, q):
        q = np.asarray(q, np.float32)
        actual = jit_percentiles(jnp.asarray(x), jnp.asarray(q))
        expected = np.percentile(x.astype(np.float64), q.astype(np.float64))
        np.testing.assert_allclose(np.asarray(actual), expected, 2e-5, 2e-6 * x.max() + 1e-30)

    @pytest.mark.parametrize("size", [(9, 2), (576, 64), (1152, 129)])
    @pytest.mark.parametrize("q", [0.0, 0.0375, 15.0, 49.9])
    def test_both_bounds_of_layers_of_real_size(self, size, q):
        x = np.abs(np.random.default_rng(0).laplace(size=size)).astype(np.float32)
        actual = order.percentiles(jnp.asarray(x), jnp.asarray([q, 100 - q]))
        expected = np.percentile(x.astype(np.float64), [q, 100 - q])
        np.testing.assert_allclose(np.asarray(actual), expected, 2e-5, 2e-6)

    def test_a_traced_percentile_compiles_once(self):
        x = jnp.asarray(np.random.default_rng(0).random((27, 4)), jnp.float32)

        @jax.jit
        @chex.assert_max_traces(n=1)
        def step(q):
            return order.percentiles(x, jnp.stack([q, 100 - q]))

        for q in (15.0, 3.0, 0.0):
            np.testing.assert_allclose(np.asarray(step(q)), np.percentile(np.asarray(x), [q, 100 - q]), 2e-5)
        chex.clear_trace_counter()
