"""ReActNet's weights and activations, against arrays of the released code and what the equations demand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bnn_jax.binarizers import reactnet, rsign
from bnn_jax.layers import BinaryConv
from tests.reference.layouts import hwio, nhwc

GRAD = jax.jit(jax.grad(lambda w: (reactnet().apply(w) * jnp.arange(36.0).reshape(12, 3)).sum()))


def close(actual, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(np.asarray(actual, np.float64), expected, rtol, atol * np.abs(expected).max())


class TestGolden:
    @pytest.mark.parametrize(
        ("paper", "file", "prefix", "out", "gout", "grads"),
        [
            ("rebnn", "reactnet_hardbinaryconv", "", "out", "gout", ("gx", "gw")),
            ("bdbnn", "react_parts", "conv_", "y", "grad_out", ("grad_x", "grad_w")),
        ],
    )
    def test_convolution(self, golden, paper, file, prefix, out, gout, grads):
        a = golden(paper, file)
        x, w = jnp.asarray(nhwc(a[f"{prefix}x"])), jnp.asarray(hwio(a[f"{prefix}w"]))
        # The released sign has a third value at zero.
        layer, nonzero = BinaryConv(w.shape[-1], weights=reactnet()), np.all(np.asarray(w) != 0, axis=(0, 1, 2))
        y, back = jax.vjp(lambda x, w: layer.apply({"params": {"kernel": w}}, x), x, w)
        close(np.asarray(y)[..., nonzero], nhwc(a[f"{prefix}{out}"])[..., nonzero])
        grad_x, grad_w = back(jnp.asarray(nhwc(a[f"{prefix}{gout}"])))
        close(grad_w, hwio(a[f"{prefix}{grads[1]}"]))
        if nonzero.all():
            close(grad_x, nhwc(a[f"{prefix}{grads[0]}"]))

    @pytest.mark.parametrize(
        ("paper", "file", "names"),
        [
            ("rebnn", "binary_activation", ("x", "gout", "y", "gx")),
            ("bdbnn", "react_parts", ("act_x", "act_grad_out", "act_y", "act_grad_x")),
        ],
    )
    def test_sign_and_its_gradient(self, golden, paper, file, names):
        a = golden(paper, file)
        x, gout, wanted, gradient = (a[name].reshape(1, -1, 1) for name in names)
        params = {"shift": jnp.zeros(1)}
        y, back = jax.vjp(lambda v: rsign().apply(v, params, progress=0.0), jnp.asarray(x))
        close(np.asarray(y)[x != 0], wanted[x != 0])
        np.testing.assert_array_equal(np.asarray(y)[x == 0], 1)
        close(back(jnp.asarray(gout))[0], gradient)

    def test_shift(self, golden):
        a = golden("rebnn", "learnable_bias")
        x, shift, gout = nhwc(a["x"]), a["bias"].ravel(), nhwc(a["gout"])
        slope = np.maximum(0, 2 - 2 * np.abs(nhwc(a["y"])))
        y, back = jax.vjp(lambda v, b: rsign().apply(v, {"shift": b}, progress=0.0), jnp.asarray(x), jnp.asarray(shift))
        np.testing.assert_array_equal(np.asarray(y), np.where(nhwc(a["y"]) >= 0, 1, -1))
        grad_x, grad_shift = back(jnp.asarray(gout))
        close(grad_x, gout * slope)
        close(grad_shift, (gout * slope).sum((0, 1, 2)))


class TestWeights:
    @given(arrays.arrays(np.float32, (12, 3), elements=st.floats(-4, 4, width=32)))
    def test_two_values_of_the_mean_magnitude_and_a_gradient_that_does_not_know_it(self, w):
        w_b = np.asarray(reactnet().apply(jnp.asarray(w)))
        scale = np.maximum(np.abs(w.astype(np.float64)).mean(0), 1e-20)
        np.testing.assert_allclose(w_b, np.where(w >= 0, scale, -scale), 1e-5)
        np.testing.assert_array_equal(np.abs(w_b), np.broadcast_to(np.abs(w_b[:1]), w_b.shape))
        expected = np.arange(36.0).reshape(12, 3) * (np.abs(w) <= 1)
        np.testing.assert_allclose(np.asarray(GRAD(jnp.asarray(w))), expected, 1e-5)

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
    def test_a_filter_of_zeros_is_binary_and_passes_its_gradient_on(self, dtype):
        w = jnp.zeros((3, 3, 4, 2), dtype)
        assert np.all(np.asarray(reactnet().apply(w)) > 0)
        grad = jax.grad(lambda v: reactnet().apply(v).sum())(w)
        assert grad.dtype == dtype
        np.testing.assert_allclose(np.asarray(grad, np.float32), 1.0, 1e-2)

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    def test_statistics_in_float32(self, dtype):
        w = jnp.full((4096, 2), 0.1, dtype)
        binary, _ = reactnet().quantize(w, {}, {}, train=True, progress=0.0)
        assert binary.scale.dtype == jnp.float32
        np.testing.assert_allclose(np.asarray(binary.scale), float(w[0, 0]), 1e-6)

    def test_under_vmap_scan_and_jit(self):
        w = jax.random.normal(jax.random.key(0), (4, 5, 6))
        one_by_one = jnp.stack([reactnet().apply(v) for v in w])
        np.testing.assert_allclose(np.asarray(jax.jit(jax.vmap(reactnet().apply))(w)), np.asarray(one_by_one), 1e-6)
        _, scanned = jax.lax.scan(lambda c, v: (c, reactnet().apply(v)), 0, w)
        np.testing.assert_allclose(np.asarray(scanned), np.asarray(one_by_one), 1e-6)


class TestActivations:
    def test_any_surrogate_by_name_and_an_unknown_one_refused(self):
        x, params = jnp.asarray([[0.5, 2.0]]), {"shift": jnp.zeros(2)}
        grad = jax.grad(lambda v: rsign("clip").apply(v, params, progress=0.0).sum())(x)
        np.testing.assert_array_equal(np.asarray(grad), [[1.0, 0.0]])
        with pytest.raises(ValueError, match="unknown surrogate gradient 'clipp'"):
            rsign("clipp")

    def test_a_shift_per_channel_from_zero(self):
        assert np.asarray(rsign().init_params(3)["shift"]).tolist() == [0, 0, 0]
        layer = BinaryConv(4, weights=reactnet(), activations=rsign())
        params = layer.init(jax.random.key(0), jnp.ones((1, 4, 4, 3)))["params"]
        assert params["input_shift"].shape == (3,)

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    def test_keeps_the_dtype(self, dtype):
        assert rsign().apply(jnp.ones((1, 3), dtype), {"shift": jnp.zeros(3)}, progress=0.0).dtype == dtype
