"""Penalties on the magnitude of weights: the released arrays, and their minima."""

import jax
import jax.numpy as jnp
import numpy as np

from bnn_jax.regularizers import ridge, unit_magnitude
from tests.reference.layouts import hwio


def close(actual, expected, rtol=3e-5):
    np.testing.assert_allclose(np.asarray(actual), expected, rtol, rtol * np.abs(expected).max())


def test_magnitudes(golden):
    a = golden("bdbnn", "other_regs")
    w = jnp.asarray(hwio(a["w"]))
    for function, name in ((ridge, "l2"), (unit_magnitude, "wr")):
        value, slope = jax.value_and_grad(function)(w)
        close(value, a[f"{name}_loss"])
        close(slope, hwio(a[f"{name}_grad"]))


def test_finite_at_the_minimum_of_both():
    for function, w in ((ridge, jnp.zeros((1, 1, 2, 2))), (unit_magnitude, jnp.ones((1, 1, 2, 2)))):
        value, grad = jax.value_and_grad(function)(w)
        assert float(value) == 0
        np.testing.assert_array_equal(np.asarray(grad), 0)


def test_of_chosen_weights_alone():
    params = {"a": jnp.full((1, 1, 2, 2), 2.0), "b": jnp.full((1, 1, 2, 2), 3.0)}
    close(ridge(params, skip="b"), 16.0)
    close(unit_magnitude(params), 2.0 + 4.0)
