"""Numbers that a resumed run must draw again."""

import numpy as np
import pytest

from bnn_jax.data.chance import uniforms
from bnn_jax.data.order import permutation


def test_they_are_frozen():
    found = uniforms(3, 5, 2**40 + 1, 7)
    np.testing.assert_array_equal(found, [0.8877614030166995, 0.3367232422918114, 0.03264229029328769])


def test_they_are_uniform():
    drawn = np.concatenate([uniforms(40, 0, step, 3) for step in range(500)])
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts, _ = np.histogram(drawn, 10, (0, 1))
    np.testing.assert_allclose(counts, 2000, atol=200)


def test_no_two_keys_share_numbers():
    keys = [(0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 1), (0, 2**32, 3), (0, 0, 1, 3), (2**32,), (0, 1, 0)]
    drawn = np.stack([uniforms(4, *key) for key in keys])
    assert len(np.unique(drawn)) == drawn.size


def test_they_are_not_those_that_orders_are_made_of():
    order = np.argsort(uniforms(50, 3, 4), kind="stable")
    assert (order != permutation(50, 3, stream=4)).sum() > 40


@pytest.mark.parametrize("key", [(-1,), (0, 2**64)])
def test_an_integer_out_of_range_is_refused(key):
    with pytest.raises(ValueError, match=r"expected integers in \[0, 2\*\*64\)"):
        uniforms(1, *key)
