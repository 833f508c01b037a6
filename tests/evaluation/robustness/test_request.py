"""What is asked for, what its files are named, and which images are made of it."""

import numpy as np
import pytest
from PIL import Image

from bnn_jax.data import array_source
from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.corruptions.frost import FILES, _load
from bnn_jax.evaluation.corruptions.pixels import jpeg_files
from bnn_jax.evaluation.corruptions.record import tables
from bnn_jax.evaluation.robustness import generated, measure, outcomes
from bnn_jax.evaluation.robustness.measure import Request
from bnn_jax.evaluation.robustness.outcomes import CLEAN
from bnn_jax.evaluation.robustness.parts import Reading


def test_a_request_names_its_files():
    assert Request("imagenet_c", "there", seed=3).stem == "imagenet_c"
    assert Request(checkpoint="last", seed=2, stored="jpeg85").stem == "corruptions_last_seed2_jpeg85"


def test_images_are_known_by_their_folder_their_frost_and_their_version(tmp_path, monkeypatch):
    def images(request, names, variant="imagenet_c"):
        return measure._images(request, names, variant, (72, 72, 3))

    monkeypatch.chdir(tmp_path)
    published = images(Request("imagenet_c", "there"), ("frost",))
    assert published == {"images": str(tmp_path / "there"), "frost": None, "pixels": None, "stored": "jpeg85"}
    monkeypatch.delenv("BNN_JAX_FROST", raising=False)
    without = images(Request(), ("fog",))
    assert without == {"images": None, "frost": None, "pixels": measure.PIXELS, "stored": "memory"}
    found = []
    for shade in (40, 41):
        for name in FILES:
            Image.new("RGB", (90, 80), (shade,) * 3).save(tmp_path / name)
        _load.cache_clear()
        tables.cache_clear()
        monkeypatch.setenv("BNN_JAX_FROST", str(tmp_path))
        found.append(images(Request(), ("fog", "frost"))["frost"])
    tables.cache_clear()
    _load.cache_clear()
    assert len({None, *found}) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"suite": "weather"}, "expected a suite of"),
        ({"leave_out": ("rain",)}, "some but not all of gaussian_noise.* found rain"),
        ({"leave_out": tuple(corruptions.ALL)}, "some but not all"),
        ({"suite": "cifar10_c"}, "needs the folder of its images: --data DIR"),
        ({"images": "there"}, "leave --data out"),
        ({"stored": "png"}, "expected 'memory' or 'jpeg85'"),
        ({"suite": "cifar10_c", "images": "there", "stored": "jpeg85"}, "which are stored; found 'jpeg85'"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Request(**arguments)


def test_photographs_may_be_stored_as_imagenet_c_is():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 72, 72, 3), np.uint8)
    names = ("contrast", "jpeg_compression")
    chosen, found = {name: corruptions.ALL[name] for name in names}, {}
    for jpeg in (False, True):
        test = array_source(images, np.arange(4), 5)
        suite = generated.Generated(test, (72, 72, 3), chosen, "imagenet_c", 0, jpeg)
        parts = suite.parts(outcomes.blank({}, names, 4), Reading(4, {"threads": 0}))
        found[jpeg] = {part.cell: np.asarray(part.batch["image"])[0] for part in parts}
    np.testing.assert_array_equal(found[True][CLEAN], images)
    for cell in set(found[True]) - {CLEAN}:
        np.testing.assert_array_equal(found[True][cell], jpeg_files(found[False][cell], np.array(85)))
        assert np.any(found[True][cell] != found[False][cell])
