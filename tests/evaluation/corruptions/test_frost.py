"""Frost, and where its textures come from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.corruptions import record
from bnn_jax.evaluation.corruptions.frost import FILES, pack

KEY = jax.random.key(0)
ROWS = corruptions.VARIANTS["imagenet_c"]["frost"]


def textures(rng, sizes=((30, 21), (12, 40))):
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


def test_it_adds_the_part_that_was_drawn():
    rng = np.random.default_rng(0)
    given, x = textures(rng), rng.random((10, 9, 3)).astype(np.float32)
    constants = pack(ROWS, given)
    for draws in ([0.1, 0.99, 0.5], [0.6, 0.0, 0.999]):
        found = corruptions.frost.apply(jnp.asarray(x), jnp.array(draws), record.at(constants, 3))
        texture = given[int(draws[0] * 2)]
        top, left = (int(draws[i + 1] * (texture.shape[i] - x.shape[i])) for i in (0, 1))
        expected = 0.7 * x + 0.7 * texture[top : top + 10, left : left + 9] / 255
        np.testing.assert_allclose(found, expected, atol=1e-6)


def shades(folder, first):
    """A folder of textures of one shade each."""
    folder.mkdir()
    for i, name in enumerate(FILES):
        Image.fromarray(np.full((300, 300, 3), first + 40 * i, np.uint8)).save(folder / name)
    return folder


@pytest.fixture
def folder(tmp_path):
    return shades(tmp_path / "frost", 0)


def test_imagenets_textures_are_those_of_a_folder(folder, monkeypatch):
    x = np.zeros((4, 224, 224, 3), np.uint8)
    found = corruptions.frost_of(str(folder))(KEY, x)
    assert all(len(np.unique(image)) == 1 for image in found)
    assert len(np.unique(found)) > 1
    monkeypatch.setenv("BNN_JAX_FROST", str(folder))
    np.testing.assert_array_equal(corruptions.frost_of("")(KEY, x), found)


def test_another_folder_of_the_environment_counts_at_once(folder, tmp_path, monkeypatch):
    x = np.zeros((2, 224, 224, 3), np.uint8)
    monkeypatch.setenv("BNN_JAX_FROST", str(folder))
    first = np.asarray(corruptions.frost(KEY, x), int)
    monkeypatch.setenv("BNN_JAX_FROST", str(shades(tmp_path / "other", 30)))
    assert np.all(np.asarray(corruptions.frost(KEY, x), int) > first)


def test_without_them_it_says_where_they_are_to_be_had(tmp_path, monkeypatch):
    monkeypatch.delenv("BNN_JAX_FROST", raising=False)
    with pytest.raises(FileNotFoundError, match="no folder was named") as error:
        corruptions.frost(KEY, np.zeros((224, 224, 3), np.uint8))
    assert "BNN_JAX_FROST" in str(error.value)
    with pytest.raises(FileNotFoundError, match="does not hold them all"):
        corruptions.frost_of(str(tmp_path))(KEY, np.zeros((224, 224, 3), np.uint8))


def test_cifars_textures_are_here_and_large_enough_for_larger_images():
    small = corruptions.frost(KEY, np.zeros((64, 64, 3), np.uint8), 5, "cifar10_c")
    assert np.std(np.asarray(small, float)) > 5


def test_cifars_textures_are_every_fifth_pixel(test_data):
    sizes = record.tables(corruptions.frost, "cifar10_c", (32, 32, 3))
    for i, name in enumerate(FILES):
        with Image.open(test_data / "data" / "frost" / name) as image:
            whole = np.asarray(image.convert("RGB"))
        expected = whole[2::5, 2::5]
        height, width = sizes.sizes[0][i]
        np.testing.assert_array_equal(sizes.textures[0][i][:height, :width], expected)
