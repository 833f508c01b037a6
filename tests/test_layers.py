"""Layers against float64 NumPy, with and without binarizers."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax import ste
from bnn_jax.binarizers import ActivationBinarizer, siman, siman_activations
from bnn_jax.layers import INITIALIZERS, BinaryConv, BinaryDense
from tests.reference import layers as reference

KEY = jax.random.key(0)
GEOMETRIES = [  # kernel_size, strides, padding
    ((3, 3), (1, 1), (1, 1)),
    ((3, 3), (2, 2), (1, 1)),
    ((1, 1), (2, 2), (0, 0)),
    ((3, 5), (1, 2), (0, 2)),
    ((7, 7), (2, 2), (3, 3)),
]
geometries = pytest.mark.parametrize(("size", "strides", "padding"), GEOMETRIES, ids=str)


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def close(actual, expected, rtol=2e-5, atol=2e-5):
    np.testing.assert_allclose(np.asarray(actual, np.float64), expected, rtol, atol)


def plain_sign():
    return ActivationBinarizer("sign", lambda x, params, *, progress: ste.sign(x, ste.polynomial))


class TestConvolution:
    @geometries
    def test_without_binarizers_it_is_an_ordinary_convolution(self, size, strides, padding):
        x, kernel = normal((2, 8, 9, 3)), normal((*size, 3, 4), 1)
        layer = BinaryConv(4, kernel_size=size, strides=strides, padding=padding)
        out, vjp = jax.vjp(lambda k, v: layer.apply({"params": {"kernel": k}}, v), kernel, x)
        close(out, reference.conv(x, kernel, strides, padding), atol=1e-4)
        stock = nn.Conv(4, size, strides, [(p, p) for p in padding], use_bias=False)
        close(out, stock.apply({"params": {"kernel": kernel}}, x), atol=1e-4)
        g_kernel, gx = vjp(cotangent := normal(out.shape, 2))
        wanted_x, wanted_kernel = reference.conv_vjp(x, kernel, cotangent, strides, padding)
        close(gx, wanted_x, atol=1e-4)
        close(g_kernel, wanted_kernel, atol=1e-4)

    @geometries
    @pytest.mark.parametrize("value", [0.0, 1.0, -1.0])
    def test_binary_convolution_is_exact_in_its_integers(self, size, strides, padding, value):
        x, kernel, scale = normal((2, 8, 9, 3)), normal((*size, 3, 4), 1), np.float32([1, 2, 0.5, -4])
        geometry = {"kernel_size": size, "strides": strides, "padding": padding, "padding_value": value}
        code = np.sign(normal(kernel.shape, 2)).astype(np.int8)
        variables = {"params": {"kernel": kernel, "scale": scale}, "memory": {"binarizer": {"code": code}}}
        out = BinaryConv(4, siman(), plain_sign(), **geometry).apply(variables, x)
        expected = reference.conv(np.where(x >= 0, 1, -1), code, strides, padding, value) * scale
        np.testing.assert_array_equal(np.asarray(out), expected)

    @pytest.mark.parametrize("value", [1.0, -1.0])
    def test_padding_with_a_sign_keeps_every_tap_binary(self, value):
        # Nine taps of one channel: sums of nine signs are odd, also at the border.
        x = normal((2, 5, 5, 1))
        layer = BinaryConv(3, siman(), plain_sign(), padding_value=value)
        variables = layer.init(KEY, x)
        out = np.asarray(layer.apply(variables, x) / variables["params"]["scale"][None, None, None])
        np.testing.assert_allclose(np.abs(np.round(out)) % 2, 1)
        zero = np.asarray(BinaryConv(3, siman(), plain_sign()).apply(variables, x))
        np.testing.assert_array_equal(zero[:, 1:-1, 1:-1], np.asarray(layer.apply(variables, x))[:, 1:-1, 1:-1])
        assert (zero[:, 0] != np.asarray(layer.apply(variables, x))[:, 0]).any()

    def test_binarized_weights_alone_or_activations_alone_work(self):
        x = normal((2, 5, 5, 3))
        only_weights = BinaryConv(4, weights=siman())
        variables = only_weights.init(KEY, x)
        weight = siman().apply(variables["params"]["kernel"])
        close(only_weights.apply(variables, x), reference.conv(x, weight))
        only_inputs = BinaryConv(4, activations=plain_sign())
        variables = only_inputs.init(KEY, x)
        assert set(variables) == {"params"}
        close(
            only_inputs.apply(variables, x),
            reference.conv(np.where(x >= 0, 1, -1), variables["params"]["kernel"]),
        )

    @pytest.mark.parametrize("weights", [siman(), siman(refresh_code=True)], ids=["stored", "refreshed"])
    def test_memory_moves_in_training_only_and_only_where_it_is_mutable(self, weights):
        x, layer = normal((2, 5, 5, 3)), BinaryConv(4, weights, siman_activations())
        variables = layer.init(KEY, x)
        before = variables["memory"]["binarizer"]["code"]
        kernel = jnp.roll(variables["params"]["kernel"], 1, 0)
        moved = {"params": {**variables["params"], "kernel": kernel}, "memory": variables["memory"]}
        _, after = layer.apply(moved, x, train=True, mutable=["memory"])
        chex.assert_trees_all_equal(after["memory"]["binarizer"], dict(siman().init_memory(kernel)))
        assert (np.asarray(after["memory"]["binarizer"]["code"]) != np.asarray(before)).any()
        _, kept = layer.apply(moved, x, train=False, mutable=["memory"])
        np.testing.assert_array_equal(np.asarray(kept["memory"]["binarizer"]["code"]), np.asarray(before))
        trained = layer.apply(moved, x, train=True)  # nothing mutable: the forward pass of training, no trace
        close(trained, layer.apply({**moved, **after}, x), 1e-6, 1e-6)

    def test_untouched_variables_evaluate_as_in_training(self):
        x, layer = normal((2, 5, 5, 3)), BinaryConv(4, siman(), siman_activations())
        for train in (False, True):
            variables = layer.init(KEY, x, train=train)
            np.testing.assert_array_equal(
                np.asarray(layer.apply(variables, x)), np.asarray(layer.apply(variables, x, train=True))
            )

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    @pytest.mark.parametrize("activations", [None, siman_activations()], ids=["real", "binary"])
    @pytest.mark.parametrize("weights", [None, siman()], ids=["real", "binary"])
    def test_half_precision_inputs_are_accepted_forward_and_backward(self, weights, activations, dtype):
        x, layer = jnp.asarray(normal((2, 5, 5, 3)), dtype), BinaryConv(4, weights, activations)
        variables = layer.init(KEY, normal((2, 5, 5, 3)))
        out, vjp = jax.vjp(lambda v: layer.apply(variables, v, train=True), x)
        close(out, np.asarray(layer.apply(variables, x.astype(jnp.float32), train=True), np.float64), 2e-2, 2e-2)
        (gx,) = vjp(jnp.ones_like(out))
        assert gx.dtype == dtype
        assert np.isfinite(np.asarray(gx, np.float64)).all()

    def test_activation_parameters_are_learned_under_their_own_names(self):
        shift = ActivationBinarizer(
            "shifted sign",
            lambda x, params, *, progress: ste.sign(x - params["shift"][None, None, None], ste.polynomial),
            lambda channels: {"shift": jnp.full((channels,), 0.25)},
        )
        x, layer = normal((2, 5, 5, 3)), BinaryConv(4, siman(), shift)
        variables = layer.init(KEY, x)
        assert set(variables["params"]) == {"kernel", "scale", "input_shift"}
        np.testing.assert_array_equal(np.asarray(variables["params"]["input_shift"]), 0.25)
        g = jax.grad(lambda p: jnp.square(layer.apply({**variables, "params": p}, x, train=True)).sum())(
            variables["params"]
        )
        assert np.abs(np.asarray(g["input_shift"])).min() > 0

    def test_traced_progress_compiles_once(self):
        x, layer = normal((2, 5, 5, 3)), BinaryConv(4, siman(), siman_activations())
        variables = layer.init(KEY, x)

        @jax.jit
        @chex.assert_max_traces(n=1)
        def step(progress):
            return layer.apply(variables, x, train=True, progress=progress)

        for progress in (0.0, 0.5):
            step(progress)
        chex.clear_trace_counter()

    def test_inputs_which_are_not_images_are_refused(self):
        with pytest.raises(ValueError, match=r"\(batch, height, width, channels\), found shape \(5, 5, 3\)"):
            BinaryConv(4).init(KEY, jnp.ones((5, 5, 3)))

    def test_a_filter_of_one_weight_is_refused(self):
        with pytest.raises(ValueError, match="leave this layer in full precision"):
            BinaryConv(4, siman(), kernel_size=(1, 1), padding=(0, 0)).init(KEY, jnp.ones((1, 5, 5, 1)))


class TestDense:
    @pytest.mark.parametrize("shape", [(4, 6), (2, 3, 6)])
    def test_without_binarizers_it_is_an_ordinary_dense_layer(self, shape):
        x, layer = normal(shape), BinaryDense(5)
        params = layer.init(KEY, x)["params"]
        expected = x.astype(np.float64) @ np.asarray(params["kernel"], np.float64) + np.asarray(params["bias"])
        close(layer.apply({"params": params}, x), expected)

    def test_with_binarizers_it_multiplies_code_and_scale(self):
        x, layer = normal((4, 6)), BinaryDense(5, siman(), plain_sign(), use_bias=False)
        variables = layer.init(KEY, x)
        code = np.asarray(variables["memory"]["binarizer"]["code"], np.float64)
        expected = np.where(x >= 0, 1, -1) @ code * np.asarray(variables["params"]["scale"], np.float64)
        close(layer.apply(variables, x), expected, 1e-6, 1e-6)
        close(layer.apply(variables, x, train=True), expected, 1e-6, 1e-6)
        assert set(variables["params"]) == {"kernel", "scale"}

    def test_bias_starts_uniform_or_at_zero(self):
        x = jnp.ones((1, 16))
        bias = np.asarray(BinaryDense(4000).init(KEY, x)["params"]["bias"])
        assert np.abs(bias).max() <= 0.25
        assert bias.std() == pytest.approx(0.25 / 3**0.5, rel=0.03)
        np.testing.assert_array_equal(np.asarray(BinaryDense(4, zero_bias=True).init(KEY, x)["params"]["bias"]), 0)


class TestInitializers:
    SHAPE = (3, 3, 64, 128)

    @pytest.mark.parametrize(
        ("name", "deviation", "reach"),
        [
            ("he_normal", (2 / 576) ** 0.5, 3.5),
            ("he_normal_fan_out", (2 / 1152) ** 0.5, 3.5),
            ("uniform_fan_in", (1 / 3 / 576) ** 0.5, 0),
            ("normal_0.01", 0.01, 3.5),
        ],
    )
    def test_deviation_is_that_of_the_papers_framework_and_normals_are_not_truncated(self, name, deviation, reach):
        w = np.asarray(INITIALIZERS[name](KEY, self.SHAPE))
        assert w.std() == pytest.approx(deviation, rel=0.01)
        assert abs(w.mean()) < 0.02 * deviation
        assert np.abs(w).max() > reach * deviation

    def test_uniform_ends_at_one_over_the_root_of_the_fan_in(self):
        w = np.asarray(INITIALIZERS["uniform_fan_in"](KEY, self.SHAPE))
        assert np.abs(w).max() <= 576**-0.5
        assert np.abs(w).max() > 0.999 * 576**-0.5
