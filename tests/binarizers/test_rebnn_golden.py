"""ReBNN against arrays of the released code, and against the paper's equations evaluated in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.binarizers import Gradients, rebnn
from bnn_jax.binarizers.rebnn import adaptive_gamma, flip_shares
from bnn_jax.layers import BinaryConv
from tests.reference import rebnn as reference
from tests.reference.layouts import hwio, nhwc

RELEASED = rebnn("released")
CASES = ("nograd", "grad_small", "grad_flips", "grad_flips_tinyout", "zeros_nograd", "w_gt1")
PAPER_CASES = {"plain": None, "clip_1e-5_2e-4": (1e-5, 2e-4), "noflip": None, "bigw": None}


def close(actual, expected, rtol=2e-5):
    expected = np.asarray(expected, np.float64)
    np.testing.assert_allclose(np.asarray(actual, np.float64), expected, rtol, 1e-6 * np.abs(expected).max())


@jax.jit
def released(w, scale, g):
    """The binary weight and the gradients of <w_b, g> and the penalty."""

    def loss(w, params):
        w_b = RELEASED.apply(w, params)
        return jnp.sum(w_b * g) + RELEASED.penalty(w, params, {}, progress=0.0), w_b

    (_, w_b), (gw, gp) = jax.value_and_grad(loss, (0, 1), has_aux=True)(w, {"scale": scale})
    return w_b, gw, gp["scale"]


class TestReleased:
    @pytest.mark.parametrize("case", CASES)
    def test_binarization_and_its_gradients(self, golden, case):
        a = golden("rebnn", f"binarization_{case}")
        w, g, scale = hwio(a["w"]), hwio(a["gout"]), a["scale"].ravel()
        w_b, gw, gscale = released(jnp.asarray(w), jnp.asarray(scale), jnp.asarray(g))
        # The released sign has a third value at zero, where nothing pulls; ours pulls towards the positive one.
        zeros, pull = w == 0, 2e-4 * 0.02 * scale
        close(np.where(zeros, 0, w_b), hwio(a["out"]))
        close(gw + zeros * pull, hwio(a["gw"]))
        close(gscale - zeros.sum((0, 1, 2)) * 0.02 * pull, a["gscale"].ravel())
        assert zeros.any() == (case == "zeros_nograd")

    @pytest.mark.parametrize("case", sorted({*CASES} - {"zeros_nograd"}))
    def test_shares_of_flips_and_largest_gradients(self, golden, case):
        a = golden("rebnn", f"binarization_{case}")
        w = hwio(a["w"])
        # The release looks one gradient ahead for the weight before.
        before = w - hwio(a["prev_grad"]) if a["has_prev_grad"] else w
        flips = flip_shares(jnp.asarray(before), jnp.asarray(w))
        close(adaptive_gamma(flips, jnp.abs(hwio(a["gout"])).max((0, 1, 2))), a["p_raw"])
        assert (a["p_raw"] > 0).all() == (case in ("grad_flips", "grad_flips_tinyout", "w_gt1"))

    def test_gamma_is_the_releases_for_any_p(self, golden):
        a, w, params = golden("rebnn", "round_pass"), jnp.ones((3, 2)), {"scale": jnp.zeros(2)}
        low, high = a["thresholds"]
        assert a["p"].min() < low < high < a["p"].max()
        # 1/2 gamma |w|^2, where the scale is none.
        penalty = RELEASED.penalty(w, params, {}, progress=0.0)
        np.testing.assert_allclose(a["gamma"], 2 * float(penalty) / w.size, 1e-6)
        # What its authors meant, after a step in which all weights flip, so that p is the largest gradient.
        intended, ones = rebnn(clip=(float(low), float(high))), {"scale": jnp.ones(2)}
        for p in a["p"]:
            gradients = Gradients(w, ones, jnp.full_like(w, p))
            moved = intended.update(intended.init_memory(w), (-w, ones), (w, ones), gradients)
            np.testing.assert_allclose(moved["gamma"], np.clip(p, low, high), 1e-6)

    def test_layer(self, golden):
        a = golden("rebnn", "biconv")
        x, w, scale = jnp.asarray(nhwc(a["x"])), jnp.asarray(hwio(a["w"])), jnp.asarray(a["scaling_factor_raw"].ravel())
        stride, padding = int(a["stride"]), int(a["padding"])
        layer = BinaryConv(w.shape[-1], RELEASED, strides=(stride, stride), padding=(padding, padding))

        def loss(w, scale, x):
            params = {"kernel": w, "scale": scale}
            y = layer.apply({"params": params}, x)
            return jnp.sum(y * nhwc(a["gout"])) + RELEASED.penalty(w, params, {}, progress=0.0), y

        (_, y), (gw, gscale, gx) = jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(w, scale, x)
        close(y, nhwc(a["out"]))
        close(gx, nhwc(a["gx"]))
        close(gw, hwio(a["gw"]))
        close(gscale, a["gscale_raw"].ravel())
        assert (a["scaling_factor_raw"] < 0).any()
        np.testing.assert_allclose(a["gamma"], 2e-4, 1e-6)


class TestPaper:
    @pytest.mark.parametrize("case", PAPER_CASES)
    def test_gamma_reconstruction_and_gradients(self, golden, case):
        arrays = golden("rebnn", "paper_equations_reference")
        a = {name.removeprefix(f"{case}__"): v for name, v in arrays.items() if name.startswith(f"{case}__")}
        before, w, g_before, g = (hwio(a[name]) for name in ("w_prev", "w", "ghat_prev", "ghat"))
        alpha, clip = a["alpha"], PAPER_CASES[case]
        gamma = reference.gamma(before, w, g_before, clip)
        np.testing.assert_allclose(gamma, a["gamma"], 1e-12)
        wanted = reference.paper(w, alpha, gamma, g)
        np.testing.assert_allclose(wanted.grad_w, hwio(a["gw"]), 1e-9, 1e-12)

        binarizer, params = rebnn(clip=clip), {"scale": jnp.asarray(alpha, jnp.float32)}
        before, w = jnp.asarray(before, jnp.float32), jnp.asarray(w, jnp.float32)
        slopes = Gradients(w, params, jnp.asarray(g_before * alpha, jnp.float32))
        memory = binarizer.update(binarizer.init_memory(w), (before, params), (w, params), slopes)
        close(memory["flips"], a["proportion"])
        close(memory["gamma"], a["gamma"])

        def loss(w, params):
            penalty = binarizer.penalty(w, params, memory, progress=0.0)
            return jnp.sum(binarizer.apply(w, params, memory) * jnp.asarray(g, jnp.float32)) + penalty, penalty

        (_, penalty), (gw, gp) = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(w, params)
        close(penalty, a["L_R"])
        close(gw, hwio(a["gw"]))
        close(gp["scale"], a["galpha"])

    def test_the_cases_are_what_they_are_called(self, golden):
        a = golden("rebnn", "paper_equations_reference")
        assert (a["plain__gamma"] > 0).all()
        assert not a["noflip__gamma"].any()
        assert (np.abs(a["bigw__w"]) > 1).any()
