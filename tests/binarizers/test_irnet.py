"""IR-Net's weights and activations, against the released code's arrays and a reference in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bnn_jax import ste
from bnn_jax.binarizers import ede_schedule, irnet, irnet_activations
from bnn_jax.binarizers.irnet import power_of_two_scale
from bnn_jax.layers import BinaryConv
from tests.reference import irnet as reference
from tests.reference.layouts import hwio, nhwc

PAIRS = range(7)  # of (t, k) in the golden arrays
SCHEDULES = {
    "tmin1e3_E100": 1e-3,
    "tmin1e3_E400": 1e-3,
    "tmin1e2_E120": 1e-2,
    "tmin1e2_E400": 1e-2,
    "tmin1e1_E300": 0.1,
}


def at(t):
    """Arguments which hold the estimator at sharpness `t`."""
    return {"t_min": float(t), "t_max": float(t)}


def close(actual, expected, rtol=1e-5, atol=0.0):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(np.asarray(actual, np.float64), expected, rtol, max(atol, rtol * scale))


GRAD = jax.jit(jax.grad(lambda w, p: (irnet().apply(w, progress=p) * jnp.arange(36.0).reshape(12, 3)).sum()))
QUANTIZE = jax.jit(lambda w, p: irnet().quantize(w, {}, {}, train=True, progress=p)[0])


class TestGolden:
    @pytest.mark.parametrize("i", PAIRS)
    def test_sign_and_its_gradient(self, golden, i):
        a, w = golden("lcr", "ede_sign"), golden("lcr", "ir_weight")
        surrogate = ste.ede(float(w["t"][i]), float(w["k"][i]))
        y, back = jax.vjp(lambda x: ste.sign(x, gradient=surrogate), jnp.asarray(a["x"]))
        nonzero = a["x"] != 0  # where the released sign has a third value
        np.testing.assert_array_equal(np.asarray(y)[nonzero], a["y"][i][nonzero])
        np.testing.assert_array_equal(np.asarray(y)[~nonzero], 1)
        close(back(jnp.asarray(a["grad_out"]))[0], a["grad_x"][i])

    @pytest.mark.parametrize("i", PAIRS)
    @pytest.mark.parametrize("name", ["gauss", "heavy", "unif", "bimodal", "k1x1"])
    def test_weights_and_their_gradient(self, golden, name, i):
        a = golden("lcr", "ir_weight")
        binarizer = irnet(**at(a["t"][i]))
        assert np.isclose(a["k"][i], max(1 / a["t"][i], 1))
        w = jnp.asarray(hwio(a[f"{name}_w"]))
        w_b, back = jax.vjp(lambda v: binarizer.apply(v), w)
        np.testing.assert_array_equal(np.asarray(w_b), hwio(a[f"{name}_bw"][i]))
        binary, _ = binarizer.quantize(w, {}, {}, train=True, progress=0.0)
        np.testing.assert_array_equal(np.asarray(binary.scale), a[f"{name}_scale"])
        close(back(jnp.asarray(hwio(a[f"{name}_grad_out"])))[0], hwio(a[f"{name}_grad_w"][i]), 1e-4, 1e-5)

    def test_a_constant_filter_leaves_the_others_alone_and_is_finite_where_the_release_is_not(self, golden):
        a = golden("lcr", "ir_weight_hazard")
        w_b, back = jax.vjp(lambda v: irnet(**at(1.0)).apply(v), jnp.asarray(hwio(a["w"])))
        (grad,) = back(jnp.ones_like(w_b))
        for found, released in ((w_b, hwio(a["bw"])), (grad, hwio(a["grad_w"]))):
            undefined = np.isnan(released)
            np.testing.assert_array_equal(undefined, np.broadcast_to([False, True, False], undefined.shape))
            assert np.isfinite(np.asarray(found)).all()
            np.testing.assert_allclose(np.asarray(found)[~undefined], released[~undefined], 1e-5, 1e-6)

    @pytest.mark.parametrize("i", PAIRS)
    @pytest.mark.parametrize("name", ["s1", "s2", "k1"])
    def test_convolution(self, golden, name, i):
        a, t = golden("lcr", "ir_conv"), golden("lcr", "ir_weight")["t"][i]
        w, x = jnp.asarray(hwio(a[f"{name}_w"])), jnp.asarray(nhwc(a[f"{name}_x"]))
        stride, pad = int(a[f"{name}_stride"]), int(a[f"{name}_pad"])
        layer = BinaryConv(
            w.shape[-1],
            weights=irnet(**at(t)),
            activations=irnet_activations(**at(t)),
            kernel_size=w.shape[:2],
            strides=(stride, stride),
            padding=(pad, pad),
        )
        y, back = jax.vjp(lambda x, w: layer.apply({"params": {"kernel": w}}, x), x, w)
        np.testing.assert_array_equal(np.asarray(y), nhwc(a[f"{name}_y"][i]))
        grad_x, grad_w = back(jnp.asarray(nhwc(a[f"{name}_grad_out"])))
        close(grad_x, nhwc(a[f"{name}_grad_x"][i]), 1e-4)
        close(grad_w, hwio(a[f"{name}_grad_w"][i]), 1e-4, 1e-5)

    @pytest.mark.parametrize(("name", "t_min"), SCHEDULES.items())
    def test_schedule_of_every_epoch(self, golden, name, t_min):
        a = golden("lcr", "ede_schedule")
        wanted = a[f"{name}_t"]
        t, k = jax.vmap(lambda e: ede_schedule(e / len(wanted), t_min, 10.0))(jnp.arange(len(wanted)))
        np.testing.assert_allclose(np.asarray(t), wanted, 1e-5)
        np.testing.assert_allclose(np.asarray(k), a[f"{name}_k"], 1e-5)

    @pytest.mark.parametrize("epochs", [90, 120, 400, 600])
    def test_schedule_of_another_release_on_this_estimator(self, golden, epochs):
        a = golden("bdbnn", "schedules")
        t, k = jax.vmap(lambda e: ede_schedule(e / epochs, 1e-2, 10.0))(jnp.arange(epochs))
        np.testing.assert_allclose(np.asarray(t), a[f"E{epochs}_t"], 1e-5)
        np.testing.assert_allclose(np.asarray(k), a[f"E{epochs}_k"], 1e-5)


class TestWeights:
    @pytest.mark.parametrize("shape", [(3, 3, 8, 5), (40, 6)], ids=str)
    @pytest.mark.parametrize("progress", [0.0, 0.6, 0.95])
    def test_forward_and_gradient_are_the_equations(self, shape, progress):
        rng = np.random.default_rng(1)
        w, g = (rng.normal(0.02, 0.1, shape).astype(np.float32) for _ in range(2))
        w_b, back = jax.vjp(lambda v: irnet().apply(v, progress=progress), jnp.asarray(w))
        expected, gradient = reference.weights(w, g, *reference.schedule(progress, 1e-3, 10.0))
        np.testing.assert_array_equal(np.asarray(w_b), expected)
        close(back(jnp.asarray(g))[0], gradient, 1e-4)

    @given(arrays.arrays(np.float32, (12, 3), elements=st.floats(-4, 4, width=32)), st.floats(0, 0.999))
    def test_whatever_the_weights_code_scale_and_gradient_are_finite_and_the_scale_a_power_of_two(self, w, progress):
        binary = QUANTIZE(jnp.asarray(w), progress)
        mantissa, _ = np.frexp(np.asarray(binary.scale))
        np.testing.assert_array_equal(mantissa, 0.5)
        np.testing.assert_array_equal(np.abs(np.asarray(binary.code)), 1)
        assert np.isfinite(np.asarray(GRAD(jnp.asarray(w), progress))).all()

    @pytest.mark.parametrize("value", [0.0, 0.1, -3.0])
    def test_a_constant_filter_is_binary_and_has_finite_gradients(self, value):
        w = jnp.full((3, 3, 4, 2), value)
        grad = jax.grad(lambda v: irnet().apply(v, progress=0.9).sum())(w)
        assert np.isfinite(np.asarray(grad)).all()
        values = np.unique(np.abs(np.asarray(irnet().apply(w))))
        assert values.size <= 2
        assert (values > 0).all()

    def test_scale_halves_for_heavy_tails_only(self):
        rng = np.random.default_rng(0)
        gauss, tails = rng.normal(size=(4096, 1)), rng.standard_t(2, size=(4096, 1)) ** 3
        filters = np.concatenate([gauss, tails], 1)
        filters = (filters - filters.mean(0)) / filters.std(0, ddof=1)
        scale = np.asarray(power_of_two_scale(jnp.asarray(filters, jnp.float32)))
        assert scale[0] == 1
        assert scale[1] < 1

    def test_the_scale_gets_no_gradient_and_the_filters_mean_none(self):
        w = jnp.asarray(np.random.default_rng(0).normal(size=(9, 4)), jnp.float32)
        grad = np.asarray(jax.grad(lambda v: (irnet().apply(v) * w).sum())(w))
        np.testing.assert_allclose(grad.sum(0), 0, atol=1e-4)

    @pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (1.0, 0.1), (-1.0, 1.0)])
    def test_impossible_schedules_are_refused(self, low, high):
        for make in (irnet, irnet_activations):
            with pytest.raises(ValueError, match="0 < t_min <= t_max, found"):
                make(low, high)

    def test_a_schedule_does_not_recompile(self):
        traces = []

        @jax.jit
        def step(w, progress):
            traces.append(1)
            return irnet().apply(w, progress=progress)

        for progress in (0.0, 0.3, 0.9):
            step(jnp.ones((4, 2)), progress)
        assert len(traces) == 1


class TestActivations:
    def test_sign_of_zero_is_one_and_half_precision_stays_binary(self):
        for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
            x = jnp.asarray([-2.0, -0.0, 0.0, 1e-7, 3.0], dtype)
            y = irnet_activations().apply(x, {}, progress=0.9)
            assert y.dtype == dtype
            np.testing.assert_array_equal(np.asarray(y, np.float32), [-1, 1, 1, 1, 1])

    @pytest.mark.parametrize("progress", [0.0, 0.5, 0.9])
    def test_gradient_is_the_estimators(self, progress):
        x = np.linspace(-3, 3, 41, dtype=np.float32)
        grad = jax.vmap(jax.grad(lambda v: irnet_activations().apply(v, {}, progress=progress)))(jnp.asarray(x))
        t, k = reference.schedule(progress, 1e-3, 10.0)
        close(grad, k * t * (1 - np.tanh(t * x.astype(np.float64)) ** 2), 1e-4)
