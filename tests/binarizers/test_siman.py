"""SiMaN's codes, statistics, projection and gradients, against float64 NumPy and against their claims."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.test_util import check_grads

from bnn_jax.binarizers import siman, siman_activations
from bnn_jax.binarizers.siman import angle_code, half_code, magnitudes, median_code, project
from bnn_jax.layers import BinaryConv
from bnn_jax.ops import convolution
from tests.reference import siman as reference

# Compiled once per shape, so that many examples are quick.
half, median, angle, clipped = map(jax.jit, (half_code, median_code, angle_code, project))
SHAPES = [(2, 1), (5, 3), (36, 4), (3, 3, 3, 5), (2, 7, 2)]
# Few values, so that ties abound; signs of zero included.
TIED = st.sampled_from([0.0, -0.0, 0.25, 0.5, 1.0, 3.0])
FINITE = st.floats(0, 100, width=32, allow_subnormal=False)


def arrays(elements, shapes=tuple(SHAPES)):
    return st.sampled_from(shapes).flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=elements))


def laplace(shape, seed=0, scale=0.1):
    return np.random.default_rng(seed).laplace(scale=scale, size=shape).astype(np.float32)


def normal(shape, seed=0, scale=1.0):
    return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float32)


def share(code):
    return np.asarray(code).mean()


class TestHalfCode:
    @given(arrays(st.one_of(TIED, FINITE)))
    @settings(max_examples=80)
    def test_every_filter_holds_exactly_half_ones_rounded_down(self, magnitude):
        n = magnitude.size // magnitude.shape[-1]
        counts = np.asarray(half(jnp.asarray(magnitude))).reshape(n, -1).sum(0)
        np.testing.assert_array_equal(counts, n // 2)

    @given(arrays(TIED))
    @settings(max_examples=80)
    def test_ties_go_to_the_lower_index_as_in_a_stable_sort(self, magnitude):
        actual = half(jnp.asarray(magnitude))
        np.testing.assert_array_equal(np.asarray(actual), reference.half_code(magnitude))

    @pytest.mark.parametrize("value", [0.0, 1.0, 1e-30, 1e30])
    @pytest.mark.parametrize("n", [2, 3, 9, 64])
    def test_a_constant_filter_has_ones_on_its_first_half(self, n, value):
        code = np.asarray(half_code(jnp.full((n, 2), value, jnp.float32)))
        np.testing.assert_array_equal(code, np.arange(n)[:, None] < np.full((1, 2), n // 2))

    def test_it_maximizes_entropy_whatever_the_weights(self):
        w = laplace((72, 8)) * np.exp(normal((8,), 1))[None]
        np.testing.assert_array_equal(reference.entropy(np.asarray(half_code(magnitudes(w))).mean(0)), 1)
        odd = np.asarray(half_code(magnitudes(w[:27])))
        np.testing.assert_allclose(reference.entropy(odd.mean(0)), reference.entropy(13 / 27))

    @pytest.mark.parametrize("shape", [(9, 2), (27, 5), (3, 3, 3, 16), (3, 3, 16, 16), (576, 64)], ids=str)
    def test_counts_are_exact_when_compiled_with_the_magnitudes_of_projected_weights(self, shape):
        code = jax.jit(lambda w: half_code(magnitudes(project(w, 15.0))))
        n = np.prod(shape[:-1])
        for seed in range(12):
            counts = np.asarray(code(laplace(shape, seed) + 0.3 * (seed % 2))).reshape(n, -1).sum(0)
            np.testing.assert_array_equal(counts, n // 2)

    def test_it_does_not_see_the_sign_of_a_weight(self):
        w = laplace((36, 4))
        w -= w.mean(0)
        np.testing.assert_array_equal(np.asarray(half_code(magnitudes(w))), np.asarray(half_code(magnitudes(-w))))


class TestMedianCode:
    @given(arrays(st.one_of(TIED, FINITE)))
    @settings(max_examples=80)
    def test_ones_are_what_exceeds_the_lower_median(self, magnitude):
        actual = median(jnp.asarray(magnitude))
        np.testing.assert_array_equal(np.asarray(actual), reference.median_code(magnitude))

    @given(arrays(st.one_of(TIED, FINITE)))
    @settings(max_examples=50)
    def test_ties_only_take_ones_away_from_the_half_code(self, magnitude):
        released, exact = (np.asarray(rule(jnp.asarray(magnitude))) for rule in (median, half))
        assert not (released & ~exact).any()

    def test_fractions_under_ties_are_below_one_half_and_zero_for_a_constant_filter(self):
        magnitude = np.array([[1, 1, 1, 1, 1, 2], [0, 0, 0, 0, 0, 0], [3, 2, 2, 2, 1, 4]], np.float32).T
        np.testing.assert_array_equal(np.asarray(median_code(jnp.asarray(magnitude))).sum(0), [1, 0, 2])

    def test_clipping_filters_of_unequal_scale_costs_ones_as_in_the_release(self):
        w = laplace((72, 64)) * np.exp(0.8 * normal((64,), 1))[None]
        projected = project(jnp.asarray(w), 15.0)
        fractions = np.asarray(median_code(magnitudes(projected))).mean(0)
        assert fractions.max() == 0.5
        assert fractions.min() < 0.4
        np.testing.assert_array_equal(np.asarray(half_code(magnitudes(projected))).mean(0), 0.5)


class TestAngleCode:
    @given(arrays(FINITE, ((2, 2), (5, 3), (3, 2, 2, 2), (9, 1))))
    @settings(max_examples=60)
    def test_no_code_has_a_larger_cosine(self, magnitude):
        magnitude = magnitude + np.float32(1e-3)  # the cosine of a filter of zeros is undefined
        actual = np.asarray(angle(jnp.asarray(magnitude)))
        best = reference.cosine(reference.angle_code(magnitude), magnitude)
        np.testing.assert_allclose(reference.cosine(actual, magnitude), best, 1e-6)

    @pytest.mark.parametrize("n", [2, 3, 7, 12])
    def test_code_is_that_of_an_exhaustive_search(self, n):
        magnitude = np.abs(laplace((n, 6), seed=n))
        actual = np.asarray(angle_code(jnp.asarray(magnitude)))
        np.testing.assert_array_equal(actual, reference.angle_code(magnitude))

    @pytest.mark.parametrize(
        ("draw", "ones", "cosine"),
        [("laplace", np.exp(-1), 0.8578), ("normal", 0.541, 0.8997), ("uniform", 2 / 3, 0.9428)],
    )
    def test_share_of_ones_of_a_large_filter_is_that_of_its_distribution(self, draw, ones, cosine):
        rng = np.random.default_rng(0)
        w = rng.uniform(-1, 1, (200_000, 4)) if draw == "uniform" else getattr(rng, draw)(size=(200_000, 4))
        magnitude = np.abs(w).astype(np.float32)
        code = angle_code(jnp.asarray(magnitude))
        assert share(code) == pytest.approx(ones, abs=0.01)
        np.testing.assert_allclose(reference.cosine(code, magnitude), cosine, atol=1.5e-3)
        # The entropy it gives away against half ones, half zeros.
        even = reference.cosine(half(jnp.asarray(magnitude)), magnitude)
        assert (even <= reference.cosine(code, magnitude) + 1e-7).all()

    def test_entropy_of_the_optimal_code_of_a_laplacian_is_below_one_bit(self):
        code = angle_code(jnp.abs(laplace((200_000, 2))))
        np.testing.assert_allclose(reference.entropy(np.asarray(code).mean(0)), 0.949, atol=6e-3)

    def test_a_filter_of_zeros_gets_a_finite_code(self):
        code = np.asarray(angle_code(jnp.zeros((9, 2))))
        assert ((code == 0) | (code == 1)).all()


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

    def test_unknown_options_are_refused_with_those_known(self):
        with pytest.raises(ValueError, match=r"unknown code_rule 'top'.*'angle', 'half', 'median'"):
            siman("top")
        with pytest.raises(ValueError, match=r"unknown scale_init 'mean'.*'fan_in' or 'weights'"):
            siman(scale_init="mean")


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
