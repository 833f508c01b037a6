"""Every corruption against a float64 version written from its definition, with the same draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.corruptions import record
from tests.reference import corruptions as reference
from tests.reference.severities import TABLES

SHAPE = (28, 24, 3)
# What float32 may add up to, in steps of 1 / 255. Where a threshold decides (a drop or none, the next whole number) a
# value may fall on its other side, and is then smoothed over those around it: the share of them.
TOLERANCE, FEW = 0.02, 0.02
STEPS = {"snow", "spatter", "glass_blur", "shot_noise", "pixelate", "motion_blur"}
COMPARED = [name for name in corruptions.ALL if name != "frost"]


@pytest.fixture(scope="module")
def image():
    """A photograph's like: colours that change slowly, an edge, black, white and gray; 8-bit values."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    x = np.stack([np.sin(rows / 5 + c) * np.cos(columns / (4 + c)) / 2 + 0.5 for c in range(3)], -1)
    x = np.clip(x + 0.05 * rng.normal(size=SHAPE), 0, 1)
    x[5:15, 8:12] = [0.9, 0.2, 0.1]
    x[0, :3], x[1, :3], x[2, :3] = 0, 1, 0.5
    return np.round(x * 255) / 255


@pytest.mark.parametrize("variant", sorted(corruptions.VARIANTS))
@pytest.mark.parametrize("name", COMPARED)
def test_it_is_what_its_definition_says(name, variant, image):
    corruption, rows = corruptions.ALL[name], TABLES[variant][name]
    draws = corruption.draw(jax.random.key(3), SHAPE)
    constants = record.tables(corruption, variant, SHAPE)
    apply = jax.jit(corruption.apply)
    plain = jax.tree.map(lambda draw: np.asarray(draw, np.float64), draws)
    changed = []
    for severity in (1, 3, 5):
        found = np.clip(apply(jnp.asarray(image, jnp.float32), draws, record.at(constants, severity)), 0, 1)
        row = np.atleast_1d(rows[severity - 1]).tolist()
        row = [int(number) if float(number).is_integer() else number for number in row]
        expected = np.clip(getattr(reference, name)(image, plain, *row), 0, 1)
        difference = 255 * abs(found - expected)
        assert np.mean(difference > TOLERANCE) <= (FEW if name in STEPS else 0), (severity, difference.max())
        changed.append(abs(found - image).mean())
    assert max(changed) > 0.005
    assert len(set(np.round(changed, 6))) == 3


@pytest.mark.parametrize("variant", sorted(corruptions.VARIANTS))
def test_its_severities_are_the_published_ones(variant):
    found, expected = corruptions.VARIANTS[variant], TABLES[variant]
    assert set(found) == set(expected) == set(corruptions.ALL)
    for name, rows in expected.items():
        np.testing.assert_allclose(found[name], np.reshape(rows, (5, -1)), rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", ["zoom_blur", "motion_blur", "spatter", "frost"])
def test_one_program_serves_all_severities(name):
    x = jnp.zeros((1, *SHAPE), jnp.uint8)
    compiled = []
    for severity in corruptions.SEVERITIES:
        corruptions.ALL[name](jax.random.key(0), x, severity, "cifar10_c")
        compiled.append(record._run._cache_size())
    assert compiled == compiled[:1] * 5


@given(
    height=st.sampled_from([1, 2, 8, 16, 33]),
    width=st.sampled_from([1, 5, 16, 40]),
    severity=st.sampled_from(corruptions.SEVERITIES),
    angle=st.floats(-180, 180, width=32),
    level=st.integers(0, 255),
)
def test_motion_leaves_a_constant_image_of_any_size_as_it_is(height, width, severity, angle, level):
    constants = record.at(record.tables(corruptions.motion_blur, "imagenet_c", (height, width, 1)), severity)
    image = jnp.full((height, width, 1), level / 255, jnp.float32)
    found = jax.jit(corruptions.motion_blur.apply)(image, jnp.float32(angle), constants)
    np.testing.assert_allclose(255 * found, level, atol=1e-4)


class TestPoisson:
    def test_numbers_are_those_of_the_distribution(self):
        from scipy.stats import poisson

        from bnn_jax.evaluation.corruptions.noise import poisson_quantile

        uniform = (np.arange(20_000, dtype=np.float32) + 0.5) / 20_000
        wrong = {}
        for mean in (0.0, 0.3, 4.0, 11.9, 12.0, 30.0, 60.0, 500.0):
            found = np.asarray(jax.jit(poisson_quantile)(jnp.asarray(uniform), jnp.full(20_000, mean)))
            expected = np.maximum(poisson.ppf(uniform.astype(np.float64), mean), 0)
            assert abs(found - expected).max() <= 1
            wrong[mean] = np.mean(found != expected)
        assert max(wrong.values()) < 6e-4, wrong
        assert wrong[500.0] < 1e-4

    def test_draws_at_the_ends_are_finite(self):
        from bnn_jax.evaluation.corruptions.noise import poisson_quantile

        ends = jnp.array([0.0, 0.0, 1 - 2.0**-24, 1 - 2.0**-24])
        found = poisson_quantile(ends, jnp.array([3.0, 300.0, 3.0, 300.0]))
        assert np.all(np.isfinite(found))
        assert found[0] == 0
        assert 150 < found[1] < 300 < found[3] < 450


class TestGlass:
    def test_chains_of_copies_are_followed_to_their_ends(self):
        from bnn_jax.evaluation.corruptions.glass import sources

        rng, (height, width) = np.random.default_rng(0), (20, 17)
        # Mostly steps forward, so that chains are long.
        uniform = np.where(rng.random((height, width, 2)) < 0.1, 0.0, 0.99).astype(np.float32)
        expected = np.arange(height * width).reshape(height, width)
        for row in range(height - 3, 3, -1):
            for column in range(width - 3, 3, -1):
                right, down = np.floor(uniform[row, column] * 6).astype(int) - 3
                expected[row, column] = expected[row + down, column + right]
        found = sources(jnp.asarray(uniform), jnp.int32(3), height, width)
        np.testing.assert_array_equal(found, expected.ravel())
        assert np.max(abs(found - np.arange(height * width))) > 4 * width
