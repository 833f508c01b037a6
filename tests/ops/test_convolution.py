"""Convolutions against loops over the taps in float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.ops import convolution
from tests.reference import layers as reference

CASES = [  # image, kernel, strides, padding
    ((2, 8, 8, 3), (3, 3, 3, 4), (1, 1), (1, 1)),
    ((2, 8, 9, 16), (3, 3, 16, 8), (2, 2), (1, 1)),
    ((1, 8, 8, 8), (1, 1, 8, 4), (2, 2), (0, 0)),
    ((2, 7, 9, 2), (3, 5, 2, 4), (1, 2), (0, 2)),
    ((2, 12, 12, 3), (7, 7, 3, 4), (2, 2), (3, 3)),
    ((3, 1, 1, 8), (3, 3, 8, 4), (1, 1), (1, 1)),
    # Channels and sizes from which a CPU takes other forms: even and odd images, both strides.
    ((2, 8, 8, 64), (3, 3, 64, 64), (1, 1), (1, 1)),
    ((2, 7, 5, 64), (3, 3, 64, 96), (1, 1), (1, 1)),
    ((2, 8, 6, 128), (3, 3, 128, 128), (1, 1), (1, 1)),
    ((1, 7, 9, 128), (3, 3, 128, 160), (1, 1), (1, 1)),
    ((2, 8, 6, 64), (3, 3, 64, 32), (2, 2), (1, 1)),
    ((2, 7, 6, 64), (3, 3, 64, 32), (2, 2), (1, 1)),
    ((2, 5, 5, 64), (5, 5, 64, 16), (1, 1), (2, 2)),
    ((2, 8, 8, 64), (1, 1, 64, 32), (1, 1), (0, 0)),
]
cases = pytest.mark.parametrize(("image", "kernel", "strides", "padding"), CASES, ids=str)


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def signs(shape, seed=0):
    return np.where(normal(shape, seed) >= 0, 1, -1).astype(np.float32)


def pairs(padding):
    return [(p, p) for p in padding]


@cases
def test_convolution_and_its_gradients(image, kernel, strides, padding):
    x, k = normal(image), normal(kernel, 1)

    @jax.jit
    def forward_and_back(x, k, g):
        out, vjp = jax.vjp(lambda u, v: convolution.conv(u, v, strides, pairs(padding)), x, k)
        return out, *vjp(g)

    expected = reference.conv(x, k, strides, padding)
    g = normal(expected.shape, 2)
    actual = forward_and_back(*map(jnp.asarray, (x, k, g)))
    for value, right in zip(actual, (expected, *reference.conv_vjp(x, k, g, strides, padding)), strict=True):
        np.testing.assert_allclose(np.asarray(value), right, 2e-5, 2e-6 * np.abs(right).max() + 1e-6)


@cases
def test_binary_convolution_is_exact_and_has_the_gradients_of_code_and_scale(image, kernel, strides, padding):
    x, code, scale = signs(image), signs(kernel, 1), normal(kernel[-1:], 2)

    @jax.jit
    def forward_and_back(x, code, scale, g):
        out, vjp = jax.vjp(lambda *args: convolution.binary_conv(*args, strides, pairs(padding)), x, code, scale)
        return out, *vjp(g)

    plain = reference.conv(x, code, strides, padding)
    g = normal(plain.shape, 3)
    out, gx, g_code, g_scale = forward_and_back(*map(jnp.asarray, (x, code, scale, g)))
    np.testing.assert_array_equal(np.asarray(out), plain.astype(np.float32) * scale)
    wanted_x, wanted_code = reference.conv_vjp(x, code, g.astype(np.float64) * scale, strides, padding)
    for value, right in ((gx, wanted_x), (g_code, wanted_code), (g_scale, (g * plain).sum((0, 1, 2)))):
        np.testing.assert_allclose(np.asarray(value), right, 2e-5, 2e-6 * np.abs(right).max() + 1e-6)


@pytest.mark.parametrize("size", [4, 3])
def test_the_longest_sums_of_signs_stay_exact_integers(size):
    x, code = np.ones((1, size, size, 512), np.float32), np.ones((3, 3, 512, 64), np.float32)
    code[0, 0, :8, 1] = -1
    args = map(jnp.asarray, (x, code, np.ones(64, np.float32)))
    out = np.asarray(convolution.binary_conv(*args, (1, 1), pairs((1, 1))))
    assert out[0, 1, 1, 0] == 4608
    assert out[0, 1, 1, 1] == 4608 - 16
    assert out[0, 0, 0, 0] == 2048


def test_vmap_is_a_loop():
    x, k = normal((3, 2, 6, 6, 3)), normal((3, 3, 3, 3, 4), 1)
    together = jax.vmap(lambda u, v: convolution.conv(u, v, (1, 1), pairs((1, 1))))(jnp.asarray(x), jnp.asarray(k))
    for member, image, kernel in zip(together, x, k, strict=True):
        np.testing.assert_allclose(np.asarray(member), reference.conv(image, kernel), 2e-5, 2e-5)


@pytest.mark.parametrize("channels", [3, 64])
def test_compiling_changes_nothing(channels):
    x, code, scale = signs((2, 8, 8, channels)), signs((3, 3, channels, channels), 1), normal((channels,), 2)

    def forward_and_back(*args):
        out, vjp = jax.vjp(lambda *a: convolution.binary_conv(*a, (1, 1), pairs((1, 1))), *args)
        return out, *vjp(jnp.ones_like(out))

    args = [jnp.asarray(v) for v in (x, code, scale)]
    for plain, compiled in zip(forward_and_back(*args), jax.jit(forward_and_back)(*args), strict=True):
        np.testing.assert_allclose(np.asarray(compiled), np.asarray(plain), 2e-5, 1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("channels", [3, 128])
def test_half_precision_inputs_keep_the_binary_sums_exact_and_the_backward_pass_in_float32(channels, dtype):
    x, code, scale = signs((2, 8, 8, channels)), signs((3, 3, channels, 8), 1), np.ones(8, np.float32)
    args = (jnp.asarray(x, dtype), jnp.asarray(code), jnp.asarray(scale))
    out, vjp = jax.vjp(lambda *a: convolution.binary_conv(*a, (1, 1), pairs((1, 1))), *args)
    assert out.dtype == dtype
    sums = reference.conv(x, code)
    # Rounded once, to the dtype of the input.
    np.testing.assert_array_equal(np.asarray(out, np.float64), np.asarray(jnp.asarray(sums, dtype), np.float64))
    g = np.asarray(jnp.asarray(normal(out.shape, 3), dtype), np.float64)
    gx, g_code, g_scale = vjp(jnp.asarray(g, dtype))
    wanted_x, wanted_code = reference.conv_vjp(x, code, g)
    assert (gx.dtype, g_code.dtype, g_scale.dtype) == (dtype, jnp.float32, jnp.float32)
    np.testing.assert_allclose(np.asarray(gx, np.float64), wanted_x, 1e-2, 1e-2)
    np.testing.assert_allclose(np.asarray(g_code), wanted_code, 2e-5, 1e-4)
    np.testing.assert_allclose(np.asarray(g_scale), (g * sums).sum((0, 1, 2)), 2e-5, 1e-2)
