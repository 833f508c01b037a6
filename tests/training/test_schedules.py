"""Learning-rate schedules, against the released code's rates and by their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.training import schedules


def factors(schedule, epochs):
    return np.asarray(jax.vmap(schedule)(jnp.arange(epochs)), np.float64)


class TestCosine:
    @pytest.mark.parametrize(
        ("key", "epochs", "warmup"), [("cifar_lr_per_epoch", 400, 5), ("imagenet_lr_per_epoch", 150, 0)]
    )
    def test_the_released_learning_rates_are_reproduced(self, golden, key, epochs, warmup):
        expected = golden("siman", "schedules")[key]
        assert expected.shape == (epochs,)
        # 1 + cos near pi cancels in float32: an absolute error of one rounding of 1, times the rate.
        np.testing.assert_allclose(
            0.1 * factors(schedules.cosine(epochs, warmup), epochs), expected, rtol=2e-5, atol=2e-8
        )

    def test_the_last_epoch_of_the_warm_up_runs_at_the_base_rate_and_the_next_one_below(self):
        found = factors(schedules.cosine(10, 4), 10)
        np.testing.assert_allclose(found[:4], [0.25, 0.5, 0.75, 1.0], rtol=1e-6)
        np.testing.assert_allclose(found[4:], [(1 + np.cos(np.pi * k / 7)) / 2 for k in range(1, 7)], rtol=1e-5)

    def test_without_warm_up_it_starts_at_the_base_rate(self):
        expected = [(1 + np.cos(np.pi * k / 8)) / 2 for k in range(8)]
        np.testing.assert_allclose(factors(schedules.cosine(8), 8), expected, rtol=1e-5)

    @pytest.mark.parametrize(("epochs", "warmup"), [(5, 5), (5, 6), (5, -1)])
    def test_a_warm_up_that_does_not_leave_an_epoch_is_refused_with_both_numbers(self, epochs, warmup):
        with pytest.raises(ValueError, match=rf"warmup_epochs .* found {warmup} with epochs = {epochs}"):
            schedules.cosine(epochs, warmup)

    def test_a_warm_up_of_all_epochs_but_one_is_accepted(self):
        np.testing.assert_allclose(factors(schedules.cosine(3, 2), 3), [0.5, 1.0, 0.5], rtol=1e-6)


def test_linear_falls_by_equal_parts_to_the_last_one():
    np.testing.assert_allclose(factors(schedules.linear(5), 5), [1.0, 0.8, 0.6, 0.4, 0.2], rtol=1e-6)


def test_constant_is_one():
    np.testing.assert_array_equal(factors(schedules.constant(5), 5), np.ones(5))


@pytest.mark.parametrize("name", ["constant", "linear", "cosine"])
def test_a_traced_epoch_gives_the_same_float32_factor_as_a_given_one(name):
    schedule = getattr(schedules, name)(6)
    for epoch in range(6):
        traced = jax.jit(schedule)(jnp.asarray(epoch))
        assert traced.dtype == jnp.float32
        np.testing.assert_allclose(traced, schedule(jnp.asarray(epoch)), rtol=1e-6)


class TestStartAt:
    @pytest.mark.parametrize("start", [0, 1, 3, 6])
    def test_nothing_before_and_all_from_then_on_also_of_an_epoch_that_was_a_fraction(self, start):
        schedule = schedules.start_at(7, start)
        np.testing.assert_array_equal(factors(schedule, 7), np.arange(7) >= start)
        fractions = jnp.arange(7) / 7
        np.testing.assert_array_equal(np.asarray(jax.vmap(schedule)(fractions * 7)), np.arange(7) >= start)

    @pytest.mark.parametrize("start", [-1, 5])
    def test_an_epoch_that_the_run_does_not_have_is_refused(self, start):
        with pytest.raises(ValueError, match=rf"start must lie in \[0, epochs\), found {start} with epochs = 5"):
            schedules.start_at(5, start)


def test_a_release_that_counts_epochs_from_one_is_ahead_and_ends_at_zero(golden):
    expected = golden("rebnn", "schedules")["reactnet_lr_per_epoch_128"]
    np.testing.assert_allclose(2.5e-3 * factors(schedules.linear(128, ahead=1), 128), expected, 1e-5, 1e-10)


@pytest.mark.parametrize(
    ("key", "factory", "base"),
    [("cifar_cos_lr_E400", schedules.cosine, 0.1), ("imagenet_linear_lr_E80", schedules.linear, 1e-3)],
)
def test_released_rates_of_other_recipes(golden, key, factory, base):
    expected = golden("bdbnn", "schedules")[key]
    found = base * factors(factory(len(expected)), len(expected))
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-7 * base)
