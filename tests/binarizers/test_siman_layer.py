"""SiMaN's activations, and a layer with its weights, against float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.binarizers import siman, siman_activations
from bnn_jax.binarizers.siman import half_code
from bnn_jax.layers import BinaryConv
from bnn_jax.ops import convolution
from tests.binarizers.draws import laplace, normal
from tests.reference import siman as reference


class TestActivations:
    @pytest.mark.parametrize("shape", [(3, 5, 5, 4), (4, 32)])
    def test_forward_and_gradient_are_those_of_the_equations(self, shape):
        x, cotangent = normal(shape) + 0.3, normal(shape, 1)
        axes = tuple(range(1, len(shape)))
        y, vjp = jax.vjp(lambda v: siman_activations().apply(v, {}, progress=0.0), jnp.asarray(x))
        standardized = reference.standardize(x, axes)
        np.testing.assert_array_equal(np.asarray(y), np.where(standardized >= 0, 1, -1))
        slope = np.maximum(0, 2 - 2 * np.abs(standardized))
        expected = reference.standardize_vjp(x, cotangent * slope, axes)
        np.testing.assert_allclose(np.asarray(vjp(cotangent)[0]), expected, 2e-5, 2e-6)

    def test_a_sample_does_not_depend_on_the_others_in_its_batch(self):
        x = jnp.asarray(normal((4, 5, 5, 3)))
        apply = siman_activations().apply
        alone = jnp.concatenate([apply(x[i : i + 1], {}, progress=0.0) for i in range(4)])
        np.testing.assert_array_equal(np.asarray(apply(x, {}, progress=0.0)), np.asarray(alone))

    def test_a_sample_of_zeros_gives_plus_one(self):
        y = siman_activations().apply(jnp.zeros((2, 7, 7, 3)), {}, progress=0.0)
        np.testing.assert_array_equal(np.asarray(y), 1)

    @pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -0.1, 3.7, 1e-20, 1e15])
    @pytest.mark.parametrize("shape", [(1, 7, 7, 3), (2, 32, 32, 16)])
    def test_a_constant_sample_gives_one_value_and_a_finite_gradient(self, value, shape):
        # Which of the two: the rounding of the mean decides, where the value is not zero.
        x = jnp.full(shape, value, jnp.float32)
        y, vjp = jax.vjp(lambda v: siman_activations().apply(v, {}, progress=0.0), x)
        assert np.unique(np.asarray(y)).tolist() in ([1.0], [-1.0])
        assert np.isfinite(np.asarray(vjp(jnp.ones_like(y))[0])).all()

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    def test_half_precision_inputs_are_standardized_in_float32(self, dtype):
        # A mean of 300 with a deviation of 1 has no significant bits left in bfloat16 arithmetic.
        x = jnp.asarray(300 + 4 * normal((2, 8, 8, 4)), dtype)
        y = siman_activations().apply(x, {}, progress=0.0)
        assert y.dtype == dtype
        expected = reference.standardize(np.asarray(x, np.float64), (1, 2, 3))
        np.testing.assert_array_equal(np.asarray(y, np.float64), np.where(expected >= 0, 1, -1))


class TestLayer:
    CASES = (
        ((2, 6, 6, 3), (3, 3), (1, 1), (1, 1), 0.0),
        ((2, 7, 5, 4), (3, 3), (2, 2), (1, 1), 0.0),
        ((1, 6, 8, 4), (1, 1), (2, 2), (0, 0), 0.0),
        ((2, 6, 6, 2), (3, 5), (1, 2), (0, 2), 0.0),
        ((2, 5, 5, 3), (3, 3), (1, 1), (1, 1), 1.0),
        ((2, 5, 5, 3), (3, 3), (2, 1), (1, 1), -1.0),
    )

    def test_convolving_the_code_is_convolving_its_ones_twice_less_all_ones(self):
        """With a code b in {0, 1}, as the paper writes it: conv(a, 2b - 1) = 2 conv(a, b) - conv(a, 1)."""
        x = jnp.asarray(np.where(normal((2, 8, 8, 6)) >= 0, 1, -1), jnp.float32)
        ones = half_code(jnp.asarray(np.abs(laplace((3, 3, 6, 5), 1)))).astype(jnp.float32)

        def convolved(kernel):
            return np.asarray(convolution.conv(x, kernel, (1, 1), [(1, 1), (1, 1)]))

        expected = 2 * convolved(ones) - convolved(jnp.ones_like(ones))
        np.testing.assert_array_equal(convolved(2 * ones - 1), expected)

    @pytest.mark.parametrize(("shape", "size", "strides", "padding", "value"), CASES)
    @pytest.mark.parametrize("rule", ["half", "median"])
    def test_layer_is_that_of_the_equations_forward_and_backward(self, shape, size, strides, padding, value, rule):
        x, w, scale = normal(shape), laplace((*size, shape[-1], 5), 1), normal((5,), 2)
        kwargs = {"kernel_size": size, "strides": strides, "padding": padding, "padding_value": value}
        layer = BinaryConv(5, siman(rule), siman_activations(), **kwargs)

        def apply(x, w, scale):
            memory = {"memory": {"binarizer": siman(rule).init_memory(w)}}
            return layer.apply({"params": {"kernel": w, "scale": scale}, **memory}, x, train=True)

        code = getattr(reference, f"{rule}_code")(np.abs(reference.standardize(w, (0, 1, 2))))
        geometry = (strides, padding, value)
        out, vjp = jax.vjp(apply, jnp.asarray(x), jnp.asarray(w), jnp.asarray(scale))
        expected = reference.layer(x, w, scale, code, *geometry)
        np.testing.assert_allclose(np.asarray(out), expected, 2e-5, 1e-5)
        cotangent = normal(out.shape, 3)
        wanted = reference.layer_vjp(x, w, scale, code, cotangent, *geometry)
        for actual, right in zip(vjp(jnp.asarray(cotangent)), wanted, strict=True):
            np.testing.assert_allclose(np.asarray(actual), right, 2e-5, 2e-5 * np.abs(right).max())
