"""What is asked for, and what its files are named."""

import numpy as np
import pytest

from bnn_jax.data import array_source
from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.corruptions.pixels import jpeg_files
from bnn_jax.evaluation.robustness import generated, outcomes
from bnn_jax.evaluation.robustness.outcomes import CLEAN
from bnn_jax.evaluation.robustness.parts import Reading
from bnn_jax.evaluation.robustness.request import Request


def test_a_request_names_its_files():
    assert Request("imagenet_c", "there").stem == "imagenet_c"
    assert Request(checkpoint="last", seed=2, stored="jpeg85").stem == "corruptions_last_seed2_jpeg85"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"suite": "weather"}, "expected a suite of"),
        ({"leave_out": ("rain",)}, r"leave out of gaussian_noise.* found 'rain'$"),
        ({"leave_out": ("snow", "FOGG")}, r"found 'FOGG' \(did you mean 'fog'\?\)$"),
        ({"leave_out": tuple(corruptions.ALL)}, "found that all of them are left out"),
        ({"suite": "cifar10_c"}, "needs the folder of its images: --data DIR"),
        ({"images": "there"}, "leave --data out"),
        ({"stored": "png"}, "expected 'memory' or 'jpeg85'"),
        ({"suite": "cifar10_c", "images": "there", "seed": 5}, "images of cifar10_c are published; found 5"),
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
