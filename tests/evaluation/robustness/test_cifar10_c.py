"""CIFAR-10-C's arrays."""

from dataclasses import replace

import numpy as np
import pytest

from bnn_jax.data import Absent, DatasetInfo, array_source
from bnn_jax.evaluation.robustness import cifar10_c, outcomes
from bnn_jax.evaluation.robustness.outcomes import CLEAN, Cell
from bnn_jax.evaluation.robustness.parts import Reading

NAMES = ("fog", "snow")
CIFAR = DatasetInfo("cifar10", 10, (32, 32, 3), (0.5,) * 3, (0.2,) * 3, tuple("abcdefghij"))
COUNT = 7


@pytest.fixture
def arrays(tmp_path):
    """Images that say which they are: of corruption c and severity s, image i is 100 c + 10 s + i everywhere."""
    for c, name in enumerate(NAMES):
        values = np.array([100 * c + 10 * s + i for s in range(5) for i in range(COUNT)], np.uint8)
        np.save(tmp_path / f"{name}.npy", np.broadcast_to(values[:, None, None, None], (5 * COUNT, 32, 32, 3)))
    np.save(tmp_path / "labels.npy", np.tile(np.arange(COUNT), 5).astype(np.uint8))
    return tmp_path


def clean():
    return array_source(np.full((COUNT, 32, 32, 3), 255, np.uint8), np.arange(COUNT), 10)


def read(suite, found, batch_size=4):
    reading = Reading(batch_size, {"threads": 0})
    return [(p.cell, p.first, {key: v.reshape(-1, *v.shape[2:]) for key, v in p.batch.items()})
            for p in suite.parts(found, reading)]  # fmt: skip


def test_every_image_of_every_severity_comes_once_in_order(arrays):
    suite = cifar10_c.open_suite(arrays, NAMES, CIFAR, clean())
    assert len(suite) == COUNT
    parts = read(suite, outcomes.blank({}, NAMES, COUNT))
    assert len(parts) == 11 * 2
    for cell, first, batch in parts:
        assert first in (0, 4)
        np.testing.assert_array_equal(batch["mask"], first + np.arange(4) < COUNT)
        places = np.minimum(first + np.arange(4), COUNT - 1)
        base = 100 * NAMES.index(cell.corruption) + 10 * (cell.severity - 1) if cell != CLEAN else 0
        expected = np.full(4, 255) if cell == CLEAN else base + places
        np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], expected)
        np.testing.assert_array_equal(batch["label"], places)


def test_test_images_in_another_order_are_refused(arrays):
    suite = cifar10_c.open_suite(arrays, NAMES, CIFAR, clean())
    np.testing.assert_array_equal(suite.labels, np.arange(COUNT))
    assert suite.paired
    assert cifar10_c.open_suite(arrays, NAMES, CIFAR, Absent(COUNT)).paired is None
    images = np.zeros((COUNT, 32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match="own test set has 2 other labels"):
        cifar10_c.open_suite(arrays, NAMES, CIFAR, array_source(images, np.array([1, 0, 2, 3, 4, 5, 6]), 10))
    with pytest.raises(
        ValueError, match=r"labels\.npy: .* own 6 test images for each of 5 severities, found 7 for each"
    ):
        cifar10_c.open_suite(arrays, NAMES, CIFAR, array_source(images[1:], np.arange(6), 10))


def test_what_is_known_is_not_read_again(arrays):
    suite = cifar10_c.open_suite(arrays, NAMES, CIFAR, Absent(COUNT))
    found = outcomes.blank({}, NAMES, COUNT)
    found.values[:] = 2
    found.row(Cell("snow", 3))[5:] = outcomes.UNKNOWN
    [(cell, first, batch)] = read(suite, found)
    assert (cell, first) == (Cell("snow", 3), 4)
    np.testing.assert_array_equal(batch["image"][:3, 0, 0, 0], [124, 125, 126])


def own_checksums(suite):
    found = suite.identity()
    assert {key for key, value in found.items() if value is not None} == {"own_crc32"}
    return found["own_crc32"]


class TestIdentity:
    def test_arrays_are_known_by_their_pixels(self, arrays):
        found = own_checksums(cifar10_c.open_suite(arrays, NAMES, CIFAR, clean()))
        assert set(found) == {"clean", *NAMES}
        assert len(set(found.values())) == 3
        without = own_checksums(cifar10_c.open_suite(arrays, NAMES, CIFAR, Absent(COUNT)))
        assert without == {name: found[name] for name in NAMES}
        images = np.load(arrays / "fog.npy")
        images[3 * COUNT - 1, 3, 3, 1] += 1  # severity 3
        np.save(arrays / "fog.npy", images)
        again = own_checksums(cifar10_c.open_suite(arrays, NAMES, CIFAR, clean()))
        assert {name for name in found if found[name] != again[name]} == {"fog"}

    def test_clean_images_in_another_order_are_others(self, arrays):
        suite = cifar10_c.open_suite(arrays, NAMES, CIFAR, clean())
        paired, unpaired = (own_checksums(replace(suite, paired=paired)) for paired in (True, False))
        assert {name for name in paired if paired[name] != unpaired[name]} == {"clean"}


def test_missing_files_are_named(arrays):
    (arrays / "snow.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"found no snow\.npy\. .* with --data; or add snow to --leave_out$"):
        cifar10_c.open_suite(arrays, NAMES, CIFAR, clean())
    with pytest.raises(ValueError, match="CIFAR-10-C is for networks of CIFAR-10"):
        cifar10_c.open_suite(arrays, NAMES, replace(CIFAR, image_shape=(28, 28, 3)), clean())


class TestFiles:
    """What is wrong with a file is known before anything is measured, and by its name."""

    @pytest.mark.parametrize(
        "images",
        [
            np.zeros((30, 32, 32, 3), np.uint8),
            np.zeros((35, 28, 28, 3), np.uint8),
            np.zeros((35, 3, 32, 32), np.uint8),
            np.zeros((35, 32, 32, 3), np.float32),
        ],
        ids=["fewer", "smaller", "channels first", "float"],
    )
    def test_images_of_another_form_are_refused(self, arrays, images):
        np.save(arrays / "snow.npy", images)
        suite = cifar10_c.open_suite(arrays, NAMES, CIFAR, Absent(COUNT))
        told = rf"snow\.npy: expected uint8 images of shape \(35, 32, 32, 3\), .* found {images.dtype} of shape"
        with pytest.raises(ValueError, match=told):
            suite.identity()

    @pytest.mark.parametrize(
        "labels", [np.zeros(35, np.float32), np.zeros((35, 1), int), np.zeros(34, int), np.zeros((35, 10), int)]
    )
    def test_labels_of_another_form_are_refused(self, arrays, labels):
        np.save(arrays / "labels.npy", labels)
        with pytest.raises(ValueError, match=rf"labels\.npy: expected .* found {labels.dtype} of shape"):
            cifar10_c.open_suite(arrays, NAMES, CIFAR, clean())

    def test_labels_that_differ_between_severities_are_refused(self, arrays):
        labels = np.load(arrays / "labels.npy")
        labels[COUNT] += 1
        labels[5 * COUNT - 1] += 1
        np.save(arrays / "labels.npy", labels)
        with pytest.raises(ValueError, match="the same 7 labels for each severity, found others for severity 2, 5"):
            cifar10_c.open_suite(arrays, NAMES, CIFAR, Absent(COUNT))

    @pytest.mark.parametrize("name", ["snow", "labels"])
    def test_files_that_are_not_arrays_are_named(self, arrays, name):
        path = arrays / f"{name}.npy"
        whole = path.read_bytes()
        with (arrays / "archive").open("wb") as file:
            np.savez(file, a=np.arange(3))
        archive = (arrays / "archive").read_bytes()
        for content in (whole[:-1], b"", b"<html>not found</html>", archive, archive[:-30]):
            path.write_bytes(content)
            with pytest.raises(ValueError, match=rf"{name}\.npy: expected a whole \.npy file"):
                cifar10_c.open_suite(arrays, NAMES, CIFAR, clean()).identity()
        np.save(path, np.array([{}], object))
        with pytest.raises(ValueError, match=rf"{name}\.npy: expected a whole \.npy file"):
            cifar10_c.open_suite(arrays, NAMES, CIFAR, clean()).identity()
