"""Shifts of colour: the released arrays, the definition in float64, and draws for each image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.data import augment, example_keys
from bnn_jax.data.lighting import EIGENVALUES, EIGENVECTORS, random_lighting, released_shift, shift_colours


def images(n, channels=3):
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, (n, 6, 6, channels), dtype=np.uint8))


def keys(n, step=0):
    return example_keys(jax.random.key(7), step, 0, n)


def test_the_released_form(golden):
    a = golden("rebnn", "lighting")
    draws = jnp.asarray(a["randn3"] * a["alphastd"], jnp.float32)
    np.testing.assert_array_equal(released_shift(jnp.asarray(a["img"])[None], draws[None])[0], a["out"])


def test_components_are_orthogonal_and_in_order():
    np.testing.assert_allclose(EIGENVECTORS.T @ EIGENVECTORS, np.eye(3), atol=2e-3)
    assert EIGENVALUES[0] > EIGENVALUES[1] > EIGENVALUES[2] > 0


def test_every_pixel_of_an_image_is_shifted_alike():
    x, draws = images(5), np.random.default_rng(1).normal(0, 0.5, (5, 3))
    shift = 255 * (np.asarray(EIGENVECTORS, np.float64) @ (draws * EIGENVALUES).T).T
    exact = np.clip(np.asarray(x, np.float64) + shift[:, None, None], 0, 255)
    found = np.asarray(shift_colours(x, jnp.asarray(draws, jnp.float32)), np.float64)
    assert np.abs(found - exact).max() <= 0.5 + 1e-4
    assert np.abs(found - np.asarray(x, np.float64)).max() > 5


def test_each_image_has_a_draw_of_its_own_by_its_key():
    x = jnp.full((3, 2, 2, 3), 128, jnp.uint8)
    first, again, later = (random_lighting(keys(3, step), x, 1.0) for step in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, later)
    assert len({tuple(np.asarray(image[0, 0]).tolist()) for image in first}) == 3
    np.testing.assert_array_equal(random_lighting(keys(3), x, 0.0), x)


def test_as_a_part_of_augmentation_it_leaves_crops_and_flips_as_they_were():
    x = images(4)
    options = {"crop_padding": 2, "flip": True, "mean": [0.5] * 3, "std": [0.5] * 3}
    plain, lit = (augment(keys(4), x, lighting=strength, **options) for strength in (0.0, 0.1))
    apart = np.asarray(lit - plain) * 127.5
    assert np.abs(apart).max() > 1
    # One shift for each image and colour, but for rounding and what is cut at the ends.
    inside = (np.asarray(plain) > -0.5) & (np.asarray(plain) < 0.5)
    for i in range(4):
        for c in range(3):
            values = apart[i, ..., c][inside[i, ..., c]]
            assert np.ptp(values) <= 1 + 1e-3


@pytest.mark.parametrize("channels", [1, 4])
def test_other_than_red_green_and_blue_is_refused(channels):
    with pytest.raises(ValueError, match="the components are those of red, green and blue"):
        random_lighting(keys(2), images(2, channels), 0.1)
