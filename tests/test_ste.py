"""Sign and its surrogate gradients, against float64 NumPy and against the released code."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn_jax import ste
from tests.reference import ste as reference

DTYPES = ("float16", "bfloat16", "float32", "float64")
# Exact in float32, with the neighbours of the kinks.
KINKS = [-0.0, 1e-30, 1.0, -1.0, 1 + 2**-23, -1 - 2**-23, 1 - 2**-24]
GRID = np.concatenate([np.linspace(-3, 3, 241), KINKS]).astype(np.float32).astype(np.float64)

# name: (surrogate, its slope in NumPy, the function whose slope it is)
CASES = {
    "identity": (ste.identity, reference.identity, lambda x: x),
    "clip": (ste.clip, reference.clip, reference.hardtanh),
    "polynomial": (ste.polynomial, reference.polynomial, reference.bireal),
    "ede": (ste.ede(1.7, 1.3), lambda x: reference.ede(x, 1.7, 1.3), lambda x: 1.3 * np.tanh(1.7 * x)),
    "ede_start": (ste.ede(0.1, 10.0), lambda x: reference.ede(x, 0.1, 10.0), lambda x: 10 * np.tanh(0.1 * x)),
    "swish": (ste.swish(), reference.swish, reference.swish_sign),
    "swish_2": (ste.swish(2.0), lambda x: reference.swish(x, 2.0), lambda x: reference.swish_sign(x, 2.0)),
}
cases = pytest.mark.parametrize("case", CASES)


def slope(gradient, x):
    """dy/dx of `ste.sign`, entry by entry."""
    return jax.grad(lambda v: ste.sign(v, gradient).sum())(x)


def extremes(dtype):
    """Values at the edges of a floating dtype."""
    info = jnp.finfo(dtype)
    positive = [0.0, *(float(v) for v in (info.smallest_subnormal, info.tiny, 1, info.max)), np.inf]
    return jnp.asarray([*positive, *np.negative(positive), np.nan], dtype)


def check_two_values(x):
    y = ste.sign(x)
    assert y.dtype == x.dtype
    assert y.shape == x.shape
    wide, values = np.asarray(x, np.float64), np.asarray(y, np.float64)
    np.testing.assert_array_equal(np.abs(values), 1)
    # A processor may take a negative subnormal for zero.
    normal = ~((wide < 0) & (wide > -float(jnp.finfo(x.dtype).tiny)))
    np.testing.assert_array_equal(values[normal], np.where(wide >= 0, 1, -1)[normal])


class TestValues:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_exactly_two_values_at_the_edges_of_every_dtype(self, dtype):
        with jax.enable_x64(dtype == "float64"):
            x = extremes(dtype)
            assert x.dtype == dtype
            check_two_values(x)
            np.testing.assert_array_equal(np.asarray(jax.jit(ste.sign)(x)), np.asarray(ste.sign(x)))

    def test_both_zeros_give_plus_one_and_nan_minus_one(self):
        np.testing.assert_array_equal(ste.sign(jnp.array([0.0, -0.0, jnp.nan])), [1, 1, -1])

    def test_positive_subnormals_are_not_flushed_to_minus_one(self):
        np.testing.assert_array_equal(ste.sign(jnp.array([1e-45, 1e-40], jnp.float32)), [1, 1])

    @pytest.mark.parametrize("dtype", [jnp.int32, jnp.int8, jnp.uint8, bool])
    def test_integers_and_booleans_are_refused_with_a_hint(self, dtype):
        with pytest.raises(TypeError, match=r"floating dtype, found \w+: cast first"):
            ste.sign(jnp.ones(3, dtype))

    def test_python_and_numpy_scalars_are_accepted(self):
        assert ste.sign(-0.5) == -1
        assert ste.sign(np.float32(0.5)) == 1

    @given(st.lists(st.floats(width=32), min_size=8, max_size=8))
    @settings(max_examples=50)
    def test_any_float32_gives_one_of_two_values(self, values):
        check_two_values(jnp.asarray(np.array(values, np.float32)))

    @given(st.lists(st.floats(width=32, allow_nan=False, allow_subnormal=False), min_size=8, max_size=8))
    @settings(max_examples=50)
    def test_sign_is_odd_and_idempotent_away_from_zero(self, values):
        x = jnp.asarray(np.array(values, np.float32))
        y = np.asarray(ste.sign(x))
        np.testing.assert_array_equal(np.asarray(ste.sign(-x)), np.where(x == 0, 1, -y))
        np.testing.assert_array_equal(np.asarray(ste.sign(ste.sign(x))), y)


class TestSlopes:
    @cases
    def test_slope_is_that_of_the_equation(self, case):
        surrogate, expected, _ = CASES[case]
        actual = slope(surrogate, jnp.asarray(GRID, jnp.float32))
        np.testing.assert_allclose(actual, expected(GRID), 2e-5, 2e-6)

    @cases
    def test_slope_in_float64_is_that_of_the_equation_to_float64_accuracy(self, case):
        surrogate, expected, _ = CASES[case]
        with jax.enable_x64(True):
            actual = slope(surrogate, jnp.asarray(GRID, jnp.float64))
            assert actual.dtype == jnp.float64
            np.testing.assert_allclose(actual, expected(GRID), 1e-12, 1e-12)

    @cases
    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_slope_in_half_precision_is_computed_in_float32_and_rounded_once(self, case, dtype):
        surrogate, _, _ = CASES[case]
        x = jnp.asarray(GRID, dtype)
        actual = slope(surrogate, x)
        assert actual.dtype == dtype
        np.testing.assert_array_equal(actual, slope(surrogate, x.astype(jnp.float32)).astype(dtype))

    @cases
    def test_slope_is_the_derivative_of_the_function_it_stands_for(self, case):
        _, expected, function = CASES[case]
        x, h = np.linspace(-2.97, 2.97, 66), 1e-5  # away from the kinks at -1, 0 and 1
        np.testing.assert_allclose(expected(x), (function(x + h) - function(x - h)) / (2 * h), 1e-6, 1e-6)

    def test_released_gradient_of_siman_is_reproduced(self, golden):
        arrays = golden("siman", "binary_quantize")
        x, gout = jnp.asarray(arrays["x"]), jnp.asarray(arrays["gout"])
        y, vjp = jax.vjp(lambda v: ste.sign(v, ste.polynomial), x)
        # Released: sign(0) = 0. Here a binary tensor has two values.
        zero = arrays["x"] == 0
        assert zero.any()
        np.testing.assert_array_equal(y, np.where(zero, 1.0, arrays["y"]))
        np.testing.assert_allclose(vjp(gout)[0], arrays["gx"], 2e-5, 2e-6)

    @given(
        st.lists(st.floats(-1e4, 1e4, width=32), min_size=8, max_size=8),
        st.sampled_from(sorted(ste.SURROGATES)),
    )
    @settings(max_examples=60)
    def test_every_named_surrogate_is_finite_even_and_the_cotangent_only_scales_it(self, values, name):
        surrogate, x = ste.surrogate(name), jnp.asarray(np.array(values, np.float32))
        actual = np.asarray(slope(surrogate, x))
        assert np.isfinite(actual).all()
        np.testing.assert_allclose(np.asarray(slope(surrogate, -x)), actual, 1e-5, 1e-5)
        twice = jax.grad(lambda v: 2 * ste.sign(v, surrogate).sum())(x)
        np.testing.assert_array_equal(np.asarray(twice), 2 * actual)

    @pytest.mark.parametrize("name", ["clip", "polynomial", "swish"])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_slope_vanishes_at_infinity_and_at_the_largest_numbers(self, name, dtype):
        with jax.enable_x64(dtype == "float64"):
            most = jnp.finfo(dtype).max
            x = jnp.asarray([jnp.inf, -jnp.inf, most, -most], dtype)
            np.testing.assert_allclose(np.asarray(slope(ste.surrogate(name), x), np.float64), 0, atol=1e-30)

    def test_swish_slope_far_from_zero_is_accurate_on_both_sides(self):
        x = np.array([1.5, 2.0, 3.0, 4.0, 6.0, 10.0])
        for side in (x, -x):
            actual = slope(ste.swish(), jnp.asarray(side, jnp.float32))
            np.testing.assert_allclose(actual, reference.swish(side), 1e-4)

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("t", [1e-2, 1.0, 1e2, 1e6])
    def test_ede_neither_overflows_nor_gives_nan_however_sharp(self, dtype, t):
        with jax.enable_x64(dtype == "float64"):
            x = jnp.concatenate([extremes(dtype)[:-1], jnp.linspace(-3, 3, 61).astype(dtype)])
            actual = np.asarray(slope(ste.ede(t, max(1 / t, 1.0)), x), np.float64)
            assert not np.isnan(actual).any()
            wide = np.asarray(x, np.float64)
            expected = reference.ede(wide, t, max(1 / t, 1.0))
            fits = expected < float(jnp.finfo(dtype).max)
            np.testing.assert_allclose(actual[fits], expected[fits], 2e-2, 1e-5 * t + 1e-4)
            assert (actual[np.abs(wide) > 20 / t] == 0).all()

    def test_names_resolve_and_an_unknown_name_lists_those_known(self):
        assert ste.surrogate("polynomial") is ste.polynomial
        with pytest.raises(ValueError, match=r"unknown surrogate gradient 'polynomal'.*'clip'.*'swish'"):
            ste.surrogate("polynomal")


class TestTransformations:
    X = np.linspace(-2, 2, 24).astype(np.float32).reshape(4, 6)

    @cases
    def test_gradient_is_the_same_under_every_transformation(self, case):
        surrogate, x = CASES[case][0], jnp.asarray(self.X)
        expected = np.asarray(slope(surrogate, x))

        def one(row):
            return slope(surrogate, row)

        results = {
            "jit": jax.jit(one)(x),
            "vmap": jax.vmap(one)(x),
            "vmap of vmap": jax.vmap(jax.vmap(one))(x),
            "grad of vmap": jax.grad(lambda v: jax.vmap(lambda r: ste.sign(r, surrogate))(v).sum())(x),
            "scan": jax.lax.scan(lambda c, row: (c, one(row)), 0, x)[1],
            "grad of scan": jax.grad(
                lambda v: jax.lax.scan(lambda c, row: (c + ste.sign(row, surrogate).sum(), None), 0.0, v)[0]
            )(x),
            "remat": jax.grad(lambda v: jax.checkpoint(lambda r: ste.sign(r, surrogate))(v).sum())(x),
            "pmap": jax.pmap(one)(x[None])[0],
        }
        for name, actual in results.items():
            np.testing.assert_allclose(np.asarray(actual), expected, 1e-6, 1e-7, err_msg=name)

    @cases
    def test_forward_mode_equals_reverse_mode(self, case):
        surrogate, x = CASES[case][0], jnp.asarray(self.X)
        dx = jnp.asarray(np.random.default_rng(0).normal(size=x.shape), jnp.float32)
        y, dy = jax.jvp(lambda v: ste.sign(v, surrogate), (x,), (dx,))
        np.testing.assert_array_equal(np.asarray(y), np.where(self.X >= 0, 1, -1))
        np.testing.assert_allclose(np.asarray(dy), np.asarray(slope(surrogate, x) * dx), 1e-6, 1e-7)
        forward = jax.jacfwd(lambda v: ste.sign(v, surrogate))(x[0])
        reverse = jax.jacrev(lambda v: ste.sign(v, surrogate))(x[0])
        np.testing.assert_allclose(np.asarray(forward), np.asarray(reverse), 1e-6, 1e-7)

    @pytest.mark.parametrize("outer", [jax.jit, jax.checkpoint, lambda f: f], ids=["jit", "remat", "plain"])
    def test_traced_parameters_reach_the_slope_in_both_modes(self, outer):
        x = jnp.asarray(self.X)

        def reverse(v, t, k):
            return jax.grad(lambda u: ste.sign(u, ste.ede(t, k)).sum())(v)

        def forward(v, t, k):
            return jax.jvp(lambda u: ste.sign(u, ste.ede(t, k)), (v,), (jnp.ones_like(v),))[1]

        for mode in (reverse, forward):
            actual = outer(mode)(x, jnp.float32(2.5), jnp.float32(1.5))
            np.testing.assert_allclose(np.asarray(actual), reference.ede(self.X, 2.5, 1.5), 2e-5, 2e-6)

    def test_a_schedule_of_ede_compiles_once(self):
        @jax.jit
        @chex.assert_max_traces(n=1)
        def step(x, t, k):
            return slope(ste.ede(t, k), x)

        for t in (0.1, 1.0, 10.0):
            k = max(1 / t, 1.0)
            actual = step(jnp.asarray(self.X), jnp.float32(t), jnp.float32(k))
            np.testing.assert_allclose(np.asarray(actual), reference.ede(self.X, t, k), 1e-4, 1e-5)
        chex.clear_trace_counter()

    def test_a_sharpness_per_member_can_be_mapped_over(self):
        t = jnp.asarray([0.5, 1.0, 4.0, 8.0])
        actual = jax.vmap(lambda v, s: slope(ste.ede(s, 1.0), v))(jnp.asarray(self.X), t)
        expected = reference.ede(self.X, np.asarray(t, np.float64)[:, None], 1.0)
        np.testing.assert_allclose(np.asarray(actual), expected, 1e-4, 1e-5)

    def test_a_schedule_inside_scan_reaches_every_step(self):
        t = jnp.asarray([0.5, 1.0, 4.0])
        x = jnp.asarray(self.X[0])
        _, actual = jax.lax.scan(lambda c, s: (c, slope(ste.ede(s, 1.0), x)), 0, t)
        expected = reference.ede(self.X[0], np.asarray(t, np.float64)[:, None], 1.0)
        np.testing.assert_allclose(np.asarray(actual), expected, 1e-4, 1e-5)

    def test_a_surrogate_of_three_lines_works_everywhere(self):
        def triangle(x):
            return jnp.maximum(0.0, 1.0 - jnp.abs(x))

        x = jnp.asarray(self.X)
        expected = np.maximum(0, 1 - np.abs(self.X))
        for actual in (slope(triangle, x), jax.jit(lambda v: slope(triangle, v))(x)):
            np.testing.assert_allclose(np.asarray(actual), expected, 1e-6, 1e-7)
        tangent = jax.jvp(lambda v: ste.sign(v, triangle), (x,), (jnp.ones_like(x),))[1]
        np.testing.assert_allclose(np.asarray(tangent), expected, 1e-6, 1e-7)


class TestStraightThrough:
    def test_value_comes_out_exactly_where_the_usual_formula_rounds(self):
        x = jnp.asarray([1e8, -3.3e7, 1e30, 0.1], jnp.float32)
        value = jnp.asarray([1.0, -1.0, 1.0, -1.0], jnp.float32)
        rounded = x - jax.lax.stop_gradient(x - value)
        assert not np.array_equal(np.asarray(rounded), np.asarray(value))
        np.testing.assert_array_equal(np.asarray(ste.straight_through(value, x)), np.asarray(value))
        np.testing.assert_array_equal(np.asarray(jax.jit(ste.straight_through)(value, x)), np.asarray(value))

    def test_gradient_goes_to_the_second_argument_only(self):
        x, value = jnp.linspace(-1, 1, 5), jnp.ones(5)
        weights = jnp.arange(5.0)
        g_value, g_x = jax.grad(lambda v, u: (weights * ste.straight_through(v, u)).sum(), (0, 1))(value, x)
        np.testing.assert_array_equal(np.asarray(g_value), 0)
        np.testing.assert_array_equal(np.asarray(g_x), np.arange(5.0))

    def test_forward_mode_passes_the_second_tangent(self):
        x, value, dx = jnp.linspace(-1, 1, 5), jnp.ones(5), jnp.arange(5.0)
        y, dy = jax.jvp(ste.straight_through, (value, x), (100 * dx, dx))
        np.testing.assert_array_equal(np.asarray(y), 1)
        np.testing.assert_array_equal(np.asarray(dy), np.arange(5.0))

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_every_dtype_keeps_value_and_gradient(self, dtype):
        with jax.enable_x64(dtype == "float64"):
            x, value = jnp.asarray([0.1, 300.0, -2.0], dtype), jnp.asarray([1.0, -1.0, 1.0], dtype)
            y, vjp = jax.vjp(lambda u: ste.straight_through(value, u), x)
            assert y.dtype == dtype
            np.testing.assert_array_equal(np.asarray(y, np.float64), [1, -1, 1])
            np.testing.assert_array_equal(np.asarray(vjp(jnp.ones_like(y))[0], np.float64), 1)
