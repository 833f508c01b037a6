"""SiMaN's three codes, against float64 NumPy and against their claims."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn_jax.binarizers.siman import angle_code, half_code, magnitudes, median_code, project
from tests.binarizers.draws import FINITE, TIED, arrays, laplace, normal, share
from tests.reference import siman as reference

# Compiled once per shape, so that many examples are quick.
half, median, angle = map(jax.jit, (half_code, median_code, angle_code))


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
