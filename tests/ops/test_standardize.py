"""Standardization and its Jacobian against float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from bnn_jax import ste
from bnn_jax.ops.standardize import standardize, standardize_sign
from tests.reference import siman as reference

CASES = [
    ((36, 5), (0,)),
    ((3, 3, 4, 5), (0, 1, 2)),
    ((4, 5, 5, 3), (1, 2, 3)),
    ((4, 32), (1,)),
    ((2, 1), (0,)),
]
cases = pytest.mark.parametrize(("shape", "axes"), CASES, ids=str)
EPS = 1e-5


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@cases
def test_it_subtracts_the_mean_and_divides_by_the_unbiased_deviation(shape, axes):
    x = 3 * normal(shape) + 1
    actual = np.asarray(standardize(jnp.asarray(x), axes, EPS), np.float64)
    np.testing.assert_allclose(actual, reference.standardize(x, axes), 2e-5, 2e-6)
    np.testing.assert_allclose(actual.mean(axes), 0, atol=1e-6)


@cases
@pytest.mark.parametrize("jit", [False, True])
def test_gradient_is_that_of_the_equation(shape, axes, jit):
    x, cotangent = 3 * normal(shape) + 1, normal(shape, 1)

    def gradient(v, g):
        return jax.vjp(lambda u: standardize(u, axes, EPS), v)[1](g)[0]

    actual = (jax.jit(gradient) if jit else gradient)(jnp.asarray(x), jnp.asarray(cotangent))
    expected = reference.standardize_vjp(x, cotangent, axes)
    np.testing.assert_allclose(np.asarray(actual), expected, 2e-5, 2e-6)


@cases
def test_derivatives_are_those_of_finite_differences_in_float64(shape, axes):
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=shape))
        out = standardize(x, axes, EPS)
        assert out.dtype == jnp.float64
        np.testing.assert_allclose(np.asarray(out), reference.standardize(x, axes), 1e-12, 1e-12)
        check_grads(lambda v: standardize(v, axes, EPS), (x,), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1e6])
def test_constant_input_is_finite_and_nearly_zero_forward_and_finite_backward(value):
    x = jnp.full((64, 3), value, jnp.float32)
    out, vjp = jax.vjp(lambda v: standardize(v, (0,), EPS), x)
    # What rounding of a mean of 64 values may leave, over sqrt(eps).
    assert np.abs(np.asarray(out)).max() <= abs(value) * 64 * 2**-24 / EPS**0.5
    assert np.isfinite(np.asarray(vjp(jnp.asarray(normal((64, 3))))[0])).all()


def test_a_large_mean_does_not_cancel_the_variance():
    x = 1000 + normal((512, 3))
    actual = standardize(jnp.asarray(x), (0,), EPS)
    np.testing.assert_allclose(np.asarray(actual), reference.standardize(x, (0,)), 1e-3, 1e-3)


def test_vmap_is_a_loop():
    x = normal((3, 27, 4))
    together = jax.vmap(lambda v: standardize(v, (0,), EPS))(jnp.asarray(x))
    np.testing.assert_allclose(np.asarray(together), reference.standardize(x, (1,)), 2e-5, 2e-6)


@pytest.mark.parametrize("shape", [(4, 5, 5, 3), (3, 32), (2, 16, 16, 8)], ids=str)
def test_sign_of_the_standardized_is_the_two_steps_in_one_forward_and_backward(shape):
    x, cotangent = 3 * normal(shape) + 1, normal(shape, 1)
    axes = tuple(range(1, len(shape)))

    def run(function):
        def forward_and_back(v, g):
            out, vjp = jax.vjp(function, v)
            return out, vjp(g)[0]

        return jax.jit(forward_and_back)(jnp.asarray(x), jnp.asarray(cotangent))

    fused, two_steps = (
        run(lambda v: standardize_sign(v, EPS)),
        run(lambda v: ste.sign(standardize(v, axes, EPS), ste.polynomial)),
    )
    np.testing.assert_array_equal(np.asarray(fused[0]), np.asarray(two_steps[0]))
    np.testing.assert_allclose(np.asarray(fused[1]), np.asarray(two_steps[1]), 2e-5, 2e-6)
