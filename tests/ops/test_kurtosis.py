"""The kurtosis of arrays: any size and spread, its gradient, and what has none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from jax.test_util import check_grads

from bnn_jax.ops.kurtosis import kurtosis
from tests.reference import bimodal as reference

BOTH = jax.jit(jax.value_and_grad(kurtosis))


@given(arrays.arrays(np.float32, (12, 1), elements=st.integers(-64, 64)), st.sampled_from([1e-6, 1.0, 1e6]))
def test_any_values_at_any_size(w, unit):
    value, grad = BOTH(jnp.asarray(w) * np.float32(unit))
    if np.ptp(w) == 0:
        assert float(value) == 0
        np.testing.assert_array_equal(np.asarray(grad), 0)
        return
    np.testing.assert_allclose(float(value), reference.kurtosis(w), 1e-4)
    expected = reference.kurtosis_gradient(w)
    np.testing.assert_allclose(
        np.asarray(grad, np.float64) * unit, expected, 1e-3, 1e-3 * max(np.abs(expected).max(), 1)
    )


@pytest.mark.parametrize("unit", [1e-30, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e8, 1e9, 1e10, 1e30])
def test_near_the_ends_of_float32_right_or_nothing_and_always_finite(unit):
    w = np.random.default_rng(0).normal(size=(12, 1)) * unit
    value, grad = jax.value_and_grad(lambda v: 400.0 * kurtosis(v))(jnp.asarray(w, jnp.float32))
    if float(value) == 0:
        assert not 1e-7 <= unit <= 1e8
        np.testing.assert_array_equal(np.asarray(grad), 0)
        return
    np.testing.assert_allclose(float(value), 400 * reference.kurtosis(w), 1e-4)
    expected = 400 * reference.kurtosis_gradient(w / unit)
    np.testing.assert_allclose(np.asarray(grad, np.float64) * unit, expected, 1e-3, 1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, 1e-30, 1e30])
@pytest.mark.parametrize("shape", [(2, 1), (576, 64)])
def test_constants_have_none_and_no_gradient(value, shape):
    found, grad = BOTH(jnp.full(shape, value))
    assert float(found) == 0
    np.testing.assert_array_equal(np.asarray(grad), 0)


@pytest.mark.parametrize("wrong", [[np.nan], [np.inf], [-np.inf], [np.inf, -np.inf], [np.inf, np.inf]], ids=str)
def test_of_values_that_are_not_finite_it_is_not_a_number_and_neither_is_its_gradient(wrong):
    w = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    w[: len(wrong), 1] = wrong
    value, grad = BOTH(jnp.asarray(w))
    assert np.isnan(float(value))
    assert np.isnan(np.asarray(grad)).all()
    values, back = jax.vjp(lambda v: kurtosis(v, per_column=True), jnp.asarray(w))
    # The other columns are none the worse.
    for found in (np.asarray(values), np.asarray(back(jnp.ones(3))[0])):
        np.testing.assert_array_equal(np.isnan(found), np.broadcast_to([False, True, False], found.shape))


@pytest.mark.parametrize("per_column", [False, True])
def test_in_float64_its_derivative_in_both_modes(per_column):
    with jax.enable_x64(True):
        w = jnp.asarray(np.random.default_rng(0).normal(0.3, 1.0, (12, 3)))
        check_grads(jax.jit(lambda v: kurtosis(v, per_column=per_column)), (w,), order=1, atol=1e-5, rtol=1e-5)


def test_of_columns_some_of_which_are_constant():
    w = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    w[:, 1] = 0.3
    values, back = jax.vjp(lambda v: kurtosis(v, per_column=True), jnp.asarray(w))
    np.testing.assert_allclose(np.asarray(values), [reference.kurtosis(w[:, 0]), 0, reference.kurtosis(w[:, 2])], 1e-5)
    (grad,) = back(jnp.asarray([1.0, 5.0, 2.0]))
    wanted = [reference.kurtosis_gradient(w[:, 0]), np.zeros(20), 2 * reference.kurtosis_gradient(w[:, 2])]
    np.testing.assert_allclose(np.asarray(grad), np.stack(wanted, -1), 1e-3, 1e-4)


def test_of_a_released_initialization_small_and_uniform():
    # U[0, 1) / 1000, as ReActNet begins: the gradient is thousands of times that of weights of unit size.
    w = np.random.default_rng(0).uniform(0, 1e-3, (40, 3)).astype(np.float32)
    value, grad = BOTH(jnp.asarray(w))
    np.testing.assert_allclose(float(value), reference.kurtosis(w), 1e-4)
    expected = reference.kurtosis_gradient(w)
    assert np.abs(expected).max() > 10
    np.testing.assert_allclose(np.asarray(grad), expected, 1e-3, 1e-3 * np.abs(expected).max())


def test_under_vmap_and_scan():
    w = jax.random.normal(jax.random.key(0), (3, 10, 2))
    values, grads = zip(*(BOTH(v) for v in w), strict=True)
    mapped = jax.vmap(BOTH)(w)
    _, scanned = jax.lax.scan(lambda c, v: (c, BOTH(v)), 0, w)
    for found in (mapped, scanned):
        np.testing.assert_allclose(np.asarray(found[0]), np.stack(values), 1e-6)
        np.testing.assert_allclose(np.asarray(found[1]), np.stack(grads), 1e-5, 1e-6)
