import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn_jax.data.order import permutation, stratified


@settings(deadline=None)
@given(n=st.integers(1, 300), seed=st.integers(0, 2**70), stream=st.integers(0, 2**31))
def test_is_a_permutation_and_a_function_of_its_arguments(n, seed, stream):
    order = permutation(n, seed, stream)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    np.testing.assert_array_equal(order, permutation(n, seed, stream))


def test_order_is_frozen():
    # Written down once: a change here would silently change every published run.
    assert permutation(8, 0).tolist() == [1, 4, 5, 6, 2, 0, 3, 7]
    assert permutation(8, 1, 2).tolist() == [2, 0, 5, 7, 1, 6, 4, 3]


def test_neighbouring_seeds_share_no_epochs():
    orders = {tuple(permutation(50, seed, stream)) for seed in range(20) for stream in range(20)}
    assert len(orders) == 400


def test_every_place_is_equally_likely():
    counts = np.zeros((6, 6))
    for stream in range(6000):
        counts[np.arange(6), permutation(6, 0, stream)] += 1
    # Chi-squared with 25 degrees of freedom: 52.6 has probability 0.001.
    assert np.square(counts - 1000).sum() / 1000 < 52.6


def test_stratified_counts_and_nesting():
    labels = np.repeat(np.arange(4), [10, 20, 5, 8])
    small = stratified(labels, np.array([1, 2, 3, 4]), seed=3)
    large = stratified(labels, np.array([2, 9, 5, 4]), seed=3)
    assert np.bincount(labels[small]).tolist() == [1, 2, 3, 4]
    assert not (small & ~large).any()
    assert (stratified(labels, np.array([2, 9, 5, 4]), seed=4) != large).any()
