"""Non-linearities against NumPy and against arrays of released code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.nonlinearities import Activation, PReLU, RPReLU
from tests.reference.layouts import nhwc

KEY = jax.random.key(0)


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def close(actual, expected, rtol=2e-5, atol=2e-5):
    np.testing.assert_allclose(np.asarray(actual, np.float64), expected, rtol, atol)


class TestActivation:
    def test_prelu_and_its_gradients(self):
        x, cotangent = normal((2, 4, 4, 3)), normal((2, 4, 4, 3), 1)
        slope = np.float32([0.25, -0.5, 2.0])
        out, vjp = jax.vjp(lambda v, s: PReLU().apply({"params": {"slope": s}}, v), x, slope)
        close(out, np.where(x >= 0, x, slope * x), 1e-6, 1e-7)
        gx, g_slope = vjp(cotangent)
        close(gx, cotangent * np.where(x >= 0, 1, slope), 1e-6, 1e-7)
        close(g_slope, (cotangent * np.minimum(x, 0)).sum((0, 1, 2)), 1e-5, 1e-5)

    def test_rprelu_and_its_gradients_are_those_released(self, golden):
        a = golden("rebnn", "rprelu")
        learned = {"shift_in": a["bias_in"].ravel(), "shift_out": a["bias_out"].ravel(), "prelu": {"slope": a["slope"]}}
        params, x = jax.tree.map(jnp.asarray, learned), jnp.asarray(nhwc(a["x"]))
        out, vjp = jax.vjp(lambda p, v: RPReLU().apply({"params": p}, v), params, x)
        close(out, nhwc(a["y"]), 1e-6, 1e-6)
        grads, gx = vjp(jnp.asarray(nhwc(a["gout"])))
        close(gx, nhwc(a["gx"]), 1e-6, 1e-6)
        for ours, theirs in ((grads["shift_in"], "gbias_in"), (grads["shift_out"], "gbias_out")):
            close(ours, a[theirs].ravel(), 1e-5, 1e-5)
        close(grads["prelu"]["slope"], a["gslope"], 1e-5, 1e-5)

    def test_prelu_starts_at_a_quarter_per_channel_and_keeps_the_dtype(self):
        params = PReLU().init(KEY, jnp.ones((2, 3)))["params"]
        np.testing.assert_array_equal(np.asarray(params["slope"]), [0.25] * 3)
        assert PReLU().apply({"params": params}, jnp.ones((2, 3), jnp.bfloat16)).dtype == jnp.bfloat16

    @pytest.mark.parametrize(
        ("kind", "function", "slope"),
        [
            ("relu", lambda x: np.maximum(x, 0), lambda x: x > 0),
            ("hardtanh", lambda x: np.clip(x, -1, 1), lambda x: np.abs(x) < 1),
            ("none", lambda x: x, np.ones_like),
            ("prelu", lambda x: np.where(x >= 0, x, 0.25 * x), lambda x: np.where(x >= 0, 1, 0.25)),
            ("rprelu", lambda x: np.where(x >= 0, x, 0.25 * x), lambda x: np.where(x >= 0, 1, 0.25)),
        ],
    )
    def test_every_kind_and_its_gradient(self, kind, function, slope):
        x = 2 * normal((4, 3))
        variables = Activation(kind).init(KEY, x)
        close(Activation(kind).apply(variables, x), function(x), 1e-6, 1e-7)
        g = jax.grad(lambda v: Activation(kind).apply(variables, v).sum())(x)
        close(g, slope(x).astype(float), 1e-6, 1e-7)

    def test_an_unknown_kind_lists_those_known(self):
        with pytest.raises(
            ValueError, match=r"unknown activation 'gelu'.*'hardtanh', 'none', 'prelu', 'relu', 'rprelu'"
        ):
            Activation("gelu").init(KEY, jnp.ones((1, 3)))
