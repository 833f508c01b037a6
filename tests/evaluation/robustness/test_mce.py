"""The arithmetic of robustness."""

import numpy as np
import pytest

from bnn_jax.evaluation.corruptions import COMMON
from bnn_jax.evaluation.robustness import mce


def alexnets():
    """Errors of a network that makes AlexNet's, severity by severity around their means."""
    steps = np.array([-0.2, -0.1, 0.0, 0.1, 0.2]) * 0.1
    return {name: mean + steps for name, mean in mce.ALEXNET.items()}


def test_alexnet_is_the_unit():
    np.testing.assert_allclose(mce.mce(alexnets()), 1)
    np.testing.assert_allclose(mce.relative_mce(alexnets(), np.array(mce.ALEXNET_CLEAN)), 1)
    assert set(mce.ALEXNET) == set(COMMON)


def test_a_worked_example():
    errors = {name: np.full(5, 0.5) for name in mce.ALEXNET}
    errors["fog"] = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    expected = [0.5 / mean for name, mean in mce.ALEXNET.items() if name != "fog"] + [0.3 / 0.819324]
    np.testing.assert_allclose(mce.mce(errors), np.mean(expected))
    np.testing.assert_allclose(mce.mean_error(errors), (14 * 0.5 + 0.3) / 15)
    relative = mce.relative_corruption_error("fog", errors["fog"], np.array(0.25))
    np.testing.assert_allclose(relative, (0.3 - 0.25) / (0.819324 - 0.43478))


def test_means_over_images_are_those_of_the_means():
    rng = np.random.default_rng(0)
    errors = {name: rng.random((5, 40)) < 0.5 for name in mce.ALEXNET}
    clean = rng.random(40) < 0.2
    means = {name: error.mean(1) for name, error in errors.items()}
    np.testing.assert_allclose(mce.mce(errors).mean(), mce.mce(means))
    np.testing.assert_allclose(mce.relative_mce(errors, clean).mean(), mce.relative_mce(means, clean.mean()))


def test_all_fifteen_are_needed():
    errors = alexnets()
    del errors["frost"]
    with pytest.raises(KeyError, match="frost"):
        mce.mce(errors)
    with pytest.raises(KeyError, match="frost"):
        mce.relative_mce(errors, np.array(0.2))
    for function in (mce.corruption_error, lambda *of: mce.relative_corruption_error(*of, np.array(0.2))):
        with pytest.raises(KeyError, match="saturate"):
            function("saturate", errors["fog"])


def test_extra_ones_change_nothing():
    more = {**alexnets(), "saturate": np.ones(5)}
    np.testing.assert_allclose([mce.mce(more), mce.relative_mce(more, np.array(mce.ALEXNET_CLEAN))], 1)


class TestIntervals:
    def test_they_are_as_wide_as_the_normal_ones(self):
        wrong = (np.arange(4000) < 1000).astype(float)
        [(low, high)] = mce.intervals([wrong], resamples=2000)
        width = 1.96 * np.sqrt(0.25 * 0.75 / 4000)
        np.testing.assert_allclose([low, high], [0.25 - width, 0.25 + width], atol=0.002)

    def test_images_are_resampled_together(self):
        rng = np.random.default_rng(0)
        one = rng.random(300)
        first, second, both = mce.intervals([one, 1 - one, one + (1 - one)])
        np.testing.assert_allclose(both, (1, 1))
        np.testing.assert_allclose(first[0], 1 - second[1])

    def test_the_same_seed_gives_the_same(self):
        values = [np.random.default_rng(1).random(50)]
        assert mce.intervals(values) == mce.intervals(values)
        assert mce.intervals(values) != mce.intervals(values, seed=1)

    def test_a_higher_level_is_wider(self):
        values = [np.random.default_rng(1).random(50)]
        [(low, high)], [(lower, higher)] = mce.intervals(values, level=0.5), mce.intervals(values, level=0.99)
        assert lower < low < high < higher
