"""Borders, and maps along rows and columns, against NumPy's padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnn_jax.evaluation.corruptions import linear
from bnn_jax.evaluation.corruptions.blur import disk, separate

BORDERS = {"edge": linear.nearest, "symmetric": linear.reflect, "reflect": linear.mirror}


@pytest.mark.parametrize("mode", BORDERS)
@given(n=st.integers(1, 9), margin=st.integers(0, 30))
def test_borders_are_numpys(mode, n, margin):
    expected = np.pad(np.arange(n), margin, mode=mode)
    np.testing.assert_array_equal(BORDERS[mode](np.arange(-margin, n + margin), n), expected)


@given(n=st.integers(2, 40), factor=st.floats(1, 6))
def test_a_zoom_keeps_constants_and_draws_from_the_middle(n, factor):
    matrix = linear.zoom(n, factor)
    np.testing.assert_allclose(matrix.sum(1), 1)
    assert matrix.min() >= 0
    part = int(np.ceil(n / factor))
    first = (n - part) // 2
    assert not matrix[:, :first].any()
    assert not matrix[:, first + part :].any()


@given(n=st.integers(1, 60), share=st.floats(0.05, 1))
def test_boxes_are_means_of_every_pixel_once(n, share):
    parts = max(1, int(n * share))
    matrix = linear.boxes(n, parts)
    np.testing.assert_allclose(matrix.sum(1), 1)
    assert len(np.unique(matrix, axis=0)) == parts
    assert ((np.unique(matrix, axis=0) > 0).sum(0) == 1).all()


@pytest.mark.parametrize("radius", [0.3, 1, 3, 8, 10])
def test_a_disk_is_the_sum_of_its_parts(radius):
    kernel = disk(radius, 0.5)
    np.testing.assert_allclose(sum(np.outer(a, b) for a, b in separate(kernel)), kernel, atol=1e-9 * kernel.max())
