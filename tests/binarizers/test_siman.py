"""SiMaN's projection, gradients and record, against float64 NumPy and against their claims."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from bnn_jax.binarizers import siman
from bnn_jax.binarizers.siman import magnitudes, project
from tests.binarizers.draws import arrays, laplace, normal
from tests.reference import siman as reference

# Compiled once per shape, so that many examples are quick.
clipped = jax.jit(project)


class TestProjection:
    @given(
        arrays(st.floats(-3, 3, width=32, allow_subnormal=False)),
        st.sampled_from([0.0, 1.0, 7.5, 15.0, 49.0]),
    )
    @settings(max_examples=80)
    def test_it_centers_and_clips_between_the_percentiles_of_the_layer(self, w, q):
        actual = np.asarray(clipped(jnp.asarray(w), q), np.float64)
        expected = reference.project(w, q)
        # Where c is rounding noise, its sign, and so the sign of what is clipped upwards, is not defined.
        axes = tuple(range(w.ndim - 1))
        noise = np.abs(w.astype(np.float64) - w.astype(np.float64).mean(axes, keepdims=True)) < 2e-6
        np.testing.assert_allclose(actual[~noise], expected[~noise], 2e-5, 4e-6)
        low, high = reference.percentile_bounds(w, q)
        assert (np.abs(actual) <= high + 4e-6).all()
        assert ((np.abs(actual) >= low - 4e-6) | (actual == 0)).all()

    @pytest.mark.parametrize("shape", [(9, 2), (27, 5), (3, 3, 3, 5), (3, 3, 16, 16)], ids=str)
    @pytest.mark.parametrize("q", [0.0, 15.0])
    def test_compiled_with_what_it_is_made_of_it_still_selects_the_exact_percentiles(self, shape, q):
        # A compiler may compute |w - mean| anew, and round it otherwise, wherever the selection reads it.
        step = jax.jit(project)
        for seed in range(12):
            w = laplace(shape, seed) + 0.3 * (seed % 2)
            np.testing.assert_allclose(np.asarray(step(w, q)), reference.project(w, q), 2e-5, 1e-6)

    @pytest.mark.parametrize("q", [0.0, 15.0])
    def test_a_layer_of_constants_stays_finite_compiled_or_not(self, q):
        for value in (0.0, 0.1, 1.9945681):
            w = jnp.full((3, 3, 3, 5), value, jnp.float32)
            for function in (project, jax.jit(project)):
                actual = np.asarray(function(w, q))
                assert np.isfinite(actual).all()
                assert np.abs(actual).max() <= abs(value) * 2**-22

    def test_zero_percent_only_centers_and_is_then_idempotent(self):
        w = jnp.asarray(laplace((3, 3, 8, 6)) + 0.2)
        once = project(w, 0.0)
        np.testing.assert_allclose(np.asarray(once), np.asarray(w) - np.asarray(w).mean((0, 1, 2)), 1e-5, 1e-7)
        np.testing.assert_allclose(np.asarray(project(once, 0.0)), np.asarray(once), 0, 1e-7)

    def test_centering_again_makes_it_not_idempotent_otherwise(self):
        w = laplace((36, 6)) * np.exp(normal((6,), 1))[None] + 0.2
        once = project(jnp.asarray(w), 15.0)
        assert np.abs(np.asarray(project(once, 15.0) - once)).max() > 1e-4

    def test_exact_zeros_stay_zero(self):
        w = np.zeros((9, 2), np.float32)
        w[:, 0] = [-4, -3, -2, -1, 0, 1, 2, 3, 4]
        actual = np.asarray(project(jnp.asarray(w), 40.0))
        assert actual[4, 0] == 0
        np.testing.assert_array_equal(actual[:, 1], 0)

    def test_a_traced_percentile_compiles_once(self):
        step = jax.jit(chex.assert_max_traces(project, n=1))
        w = jnp.asarray(laplace((36, 4)))
        for q in (15.0, 10.0, 0.0):
            np.testing.assert_allclose(np.asarray(step(w, q)), reference.project(w, q), 2e-5, 1e-6)
        chex.clear_trace_counter()

    @pytest.mark.parametrize("percentile", [-1, 50, 80])
    def test_percentiles_which_cross_are_refused(self, percentile):
        with pytest.raises(ValueError, match=rf"\[0, 50\) percent, found {percentile}"):
            siman(initial_percentile=percentile)


def _loss(binarizer, cotangent, **kwargs):
    return lambda w, params: (cotangent * binarizer.apply(w, params, **kwargs)).sum()


class TestGradient:
    @pytest.mark.parametrize("rule", ["half", "median", "angle"])
    def test_it_is_orthogonal_to_ones_and_nearly_to_the_filter(self, rule):
        w, cotangent = laplace((3, 3, 8, 6)) + 0.05, normal((3, 3, 8, 6), 1)
        binarizer = siman(rule)
        g = jax.grad(_loss(binarizer, cotangent))(jnp.asarray(w), binarizer.init_params(w))
        g, flat = np.asarray(g, np.float64).reshape(72, 6), w.reshape(72, 6).astype(np.float64)
        lengths = np.linalg.norm(g, axis=0)
        assert (np.abs(g.sum(0)) < 1e-5 * lengths * 72**0.5).all()
        c = flat - flat.mean(0)
        along = np.abs((g * c).sum(0)) / lengths / np.linalg.norm(c, axis=0)
        assert (along < 2 * reference.EPS / c.var(0)).all()  # exactly zero but for epsilon

    @pytest.mark.parametrize("rule", ["half", "median", "angle"])
    def test_it_passes_straight_through_the_code_to_the_magnitudes(self, rule):
        w, cotangent = laplace((36, 4)), normal((36, 4), 1)
        binarizer = siman(rule)
        params = {"scale": jnp.asarray(normal((4,), 2))}
        actual = jax.grad(_loss(binarizer, cotangent))(jnp.asarray(w), params)
        expected = reference.standardize_vjp(
            w, cotangent * np.asarray(params["scale"])[None] * np.sign(reference.standardize(w, (0,))), (0,)
        )
        np.testing.assert_allclose(np.asarray(actual), expected, 2e-5, 2e-5)

    def test_scale_gets_the_sum_over_its_filter_of_code_times_cotangent(self):
        w, cotangent = laplace((3, 3, 4, 6)), normal((3, 3, 4, 6), 1)
        params = siman().init_params(w)
        actual = jax.grad(_loss(siman(), cotangent), 1)(jnp.asarray(w), params)["scale"]
        code = 2.0 * reference.half_code(np.abs(reference.standardize(w, (0, 1, 2)))) - 1
        np.testing.assert_allclose(np.asarray(actual), (cotangent * code).sum((0, 1, 2)), 2e-5, 2e-5)

    def test_magnitudes_have_the_derivatives_of_finite_differences_in_float64(self):
        with jax.enable_x64(True):
            w = jnp.asarray(np.random.default_rng(0).laplace(size=(12, 3)) + 0.1)
            assert magnitudes(w).dtype == jnp.float64
            check_grads(magnitudes, (w,), order=1, atol=1e-6, rtol=1e-6)

    def test_gradient_through_the_code_is_that_of_finite_differences_of_what_it_stands_for(self):
        with jax.enable_x64(True):
            rng = np.random.default_rng(0)
            w, cotangent, scale = rng.laplace(size=(12, 3)), rng.normal(size=(12, 3)), rng.normal(size=3)
            actual = jax.grad(_loss(siman(), cotangent))(jnp.asarray(w), {"scale": jnp.asarray(scale)})

            def surrogate(v):
                return (cotangent * scale * np.abs(reference.standardize(v, (0,)))).sum()

            h, expected = 1e-6, np.zeros_like(w)
            for at in np.ndindex(*w.shape):
                step = np.zeros_like(w)
                step[at] = h
                expected[at] = (surrogate(w + step) - surrogate(w - step)) / (2 * h)
            np.testing.assert_allclose(np.asarray(actual), expected, 1e-6, 1e-7)

    @pytest.mark.parametrize("rule", ["half", "median", "angle"])
    @pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1e-20, 1e6])
    def test_a_constant_filter_is_finite_forward_and_backward(self, rule, value):
        w = jnp.asarray(laplace((27, 3))).at[:, 1].set(value)
        binarizer, cotangent = siman(rule), normal((27, 3), 1)
        out, grads = jax.value_and_grad(_loss(binarizer, cotangent), (0, 1))(w, binarizer.init_params(w))
        assert np.isfinite(out)
        for leaf in jax.tree.leaves(grads):
            assert np.isfinite(np.asarray(leaf)).all()
        if value == 0:
            np.testing.assert_array_equal(np.asarray(grads[0])[:, 1], 0)


class TestRecord:
    def test_code_is_computed_in_float32_from_bfloat16_weights(self):
        w = jnp.asarray(laplace((64, 8)), jnp.bfloat16)
        size = magnitudes(w)
        assert size.dtype == jnp.float32
        expected = np.abs(reference.standardize(np.asarray(w, np.float64), (0,)))
        np.testing.assert_allclose(np.asarray(size), expected, 2e-5, 2e-6)
        code = siman().init_memory(w)["code"]
        np.testing.assert_array_equal(np.asarray(code) == 1, reference.half_code(np.asarray(size)))
        assert project(w, 15.0).dtype == jnp.bfloat16

    def test_evaluation_keeps_the_stored_code_whatever_the_weights(self):
        w = laplace((36, 4))
        params, memory = siman().init_params(w), siman().init_memory(w)
        before = siman().apply(w, params, memory, train=False)
        np.testing.assert_array_equal(np.asarray(siman().apply(-3 * w[::-1], params, memory, train=False)), before)
        assert (np.asarray(siman().apply(w[::-1], params, memory, train=True)) != np.asarray(before)).any()

    def test_evaluation_gives_no_gradient_to_the_weights(self):
        w = jnp.asarray(laplace((36, 4)))
        params, memory = siman().init_params(w), siman().init_memory(w)
        g = jax.grad(lambda v: siman().apply(v, params, memory, train=False).sum())(w)
        np.testing.assert_array_equal(np.asarray(g), 0)

    def test_refreshing_evaluates_with_the_code_of_the_current_weights(self):
        w = laplace((36, 4))
        binarizer = siman(refresh_code=True)
        params, memory = binarizer.init_params(w), binarizer.init_memory(w)
        moved = np.roll(w, 1, axis=0)
        fresh = binarizer.apply(moved, params, memory, train=False)
        np.testing.assert_array_equal(np.asarray(fresh), np.asarray(siman().apply(moved, params, train=True)))
        stale = siman().apply(moved, params, memory, train=False)
        assert (np.asarray(fresh) != np.asarray(stale)).any()

    @pytest.mark.parametrize("shape", [(1, 4), (1, 1, 1, 8)])
    def test_one_weight_per_filter_is_refused_with_what_to_do(self, shape):
        for function in (siman().init_params, siman().init_memory, siman().apply):
            with pytest.raises(ValueError, match=r"two or more weights per filter.*full precision"):
                function(jnp.ones(shape))

    def test_vectors_and_integers_are_refused(self):
        with pytest.raises(ValueError, match=r"two or more dimensions, found shape \(5,\)"):
            siman().apply(jnp.ones(5))
        with pytest.raises(TypeError, match="floating-point weights, found int32"):
            siman().apply(jnp.ones((5, 2), jnp.int32))

    def test_the_scale_of_another_weight_is_refused(self):
        binarizer = siman()
        for train in (True, False):
            with pytest.raises(ValueError, match=r"siman needs a scale \(5,\).*found \(3,\): are the params those of"):
                binarizer.apply(jnp.ones((3, 5)), binarizer.init_params(jnp.ones((5, 3))), train=train)

    def test_unknown_options_are_refused_with_those_known(self):
        with pytest.raises(ValueError, match=r"unknown code_rule 'top'.*'angle', 'half', 'median'"):
            siman("top")
        with pytest.raises(ValueError, match=r"unknown scale_init 'mean'.*'fan_in' or 'weights'"):
            siman(scale_init="mean")
