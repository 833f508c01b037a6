"""Generated images: what tells them from others, and what chance decides in them."""

import jax
import numpy as np
import pytest
from PIL import Image

from bnn_jax.data import array_source
from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.corruptions.frost import FILES
from bnn_jax.evaluation.robustness import generated, identity, outcomes
from bnn_jax.evaluation.robustness.outcomes import Cell
from bnn_jax.evaluation.robustness.parts import Reading


def images(count=20, side=9, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def suite(pixels, names=("fog",), variant="cifar10_c", jpeg=False):
    test = array_source(pixels, np.arange(len(pixels)) % 10, 10)
    chosen = {name: corruptions.ALL[name] for name in names}
    return generated.Generated(test, pixels.shape[1:], chosen, variant, 0, jpeg)


def test_images_are_known_by_their_pixels_and_how_they_are_made():
    found = suite(images()).identity()
    assert found == suite(images().copy(), ("snow",)).identity()
    assert (found["pixels_version"], found["stored"], found["own_crc32"]) == (identity.PIXELS, "memory", {})
    assert suite(images(), jpeg=True).identity()["stored"] == "jpeg85"
    turned = images()
    turned[-1] = turned[-1, ::-1]
    others = [suite(pixels).identity()["images_crc32"] for pixels in (turned, images(side=8), images(seed=1))]
    assert len({found["images_crc32"], *others}) == 4


def test_frost_is_known_by_its_textures(tmp_path, monkeypatch):
    found = []
    for shade in (40, 41):
        folder = tmp_path / str(shade)
        folder.mkdir()
        for name in FILES:
            Image.new("RGB", (90, 80), (shade,) * 3).save(folder / name)
        monkeypatch.setenv("BNN_JAX_FROST", str(folder))
        found.append(suite(images(side=72), ("fog", "frost"), "imagenet_c").identity())
    assert found[0]["own_crc32"] != found[1]["own_crc32"]
    assert {**found[0], "own_crc32": None} == {**found[1], "own_crc32": None}


@pytest.mark.parametrize("set_to", ["threefry2x32", "rbg"])
def test_an_image_is_the_same_in_any_batch_and_whatever_generator_is_set(set_to):
    def made(batch_size, first):
        blank = outcomes.blank({}, ("impulse_noise",), 6)
        blank.values[:] = 2
        blank.row(Cell("impulse_noise", 3))[first:] = outcomes.UNKNOWN
        parts = suite(images(6), ("impulse_noise",)).parts(blank, Reading(batch_size, {"threads": 0}))
        return np.concatenate([np.asarray(part.batch["image"]).reshape(-1, 9, 9, 3) for part in parts])

    expected = made(6, 0)
    with jax.default_prng_impl(set_to):
        np.testing.assert_array_equal(made(6, 0), expected)
        np.testing.assert_array_equal(made(2, 4), expected[4:])
