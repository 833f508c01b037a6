"""CIFAR-10-C's arrays and ImageNet-C's folders."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bnn_jax.data import Absent, DatasetInfo, array_source
from bnn_jax.data.image_folder import folder_records
from bnn_jax.data.images import ImageSource, View
from bnn_jax.evaluation.robustness import outcomes, published
from bnn_jax.evaluation.robustness.outcomes import CLEAN, Cell
from bnn_jax.evaluation.robustness.parts import Reading

NAMES = ("fog", "snow")
CIFAR = DatasetInfo("cifar10", 10, (32, 32, 3), (0.5,) * 3, (0.2,) * 3, tuple("abcdefghij"))
PHOTOS = DatasetInfo("imagenet", 2, (16, 16, 3), (0.5,) * 3, (0.2,) * 3, ("n01", "n02"))
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
    suite = published.cifar10_c(arrays, NAMES, CIFAR, clean())
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
    suite = published.cifar10_c(arrays, NAMES, CIFAR, clean())
    np.testing.assert_array_equal(suite.labels, np.arange(COUNT))
    assert suite.paired
    assert published.cifar10_c(arrays, NAMES, CIFAR, Absent(COUNT)).paired is None
    images = np.zeros((COUNT, 32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match="own test set has 2 other labels"):
        published.cifar10_c(arrays, NAMES, CIFAR, array_source(images, np.array([1, 0, 2, 3, 4, 5, 6]), 10))
    with pytest.raises(
        ValueError, match=r"labels\.npy: .* own 6 test images for each of 5 severities, found 7 for each"
    ):
        published.cifar10_c(arrays, NAMES, CIFAR, array_source(images[1:], np.arange(6), 10))


def test_what_is_known_is_not_read_again(arrays):
    suite = published.cifar10_c(arrays, NAMES, CIFAR, Absent(COUNT))
    found = outcomes.blank({}, NAMES, COUNT)
    found.values[:] = 2
    found.row(Cell("snow", 3))[5:] = outcomes.UNKNOWN
    [(cell, first, batch)] = read(suite, found)
    assert (cell, first) == (Cell("snow", 3), 4)
    np.testing.assert_array_equal(batch["image"][:3, 0, 0, 0], [124, 125, 126])


class TestIdentity:
    def own(self, suite):
        found = suite.identity()
        assert {key for key, value in found.items() if value is not None} == {"own_crc32"}
        return found["own_crc32"]

    def test_arrays_are_known_by_their_pixels(self, arrays):
        found = self.own(published.cifar10_c(arrays, NAMES, CIFAR, clean()))
        assert set(found) == {"clean", *NAMES}
        assert len(set(found.values())) == 3
        without = self.own(published.cifar10_c(arrays, NAMES, CIFAR, Absent(COUNT)))
        assert without == {name: found[name] for name in NAMES}
        images = np.load(arrays / "fog.npy")
        images[-1, 3, 3, 1] += 1
        np.save(arrays / "fog.npy", images)
        again = self.own(published.cifar10_c(arrays, NAMES, CIFAR, clean()))
        assert {name for name in found if found[name] != again[name]} == {"fog"}

    def test_clean_images_in_another_order_are_others(self, arrays):
        suite = published.cifar10_c(arrays, NAMES, CIFAR, clean())
        paired, unpaired = (self.own(replace(suite, paired=paired)) for paired in (True, False))
        assert {name for name in paired if paired[name] != unpaired[name]} == {"clean"}

    def test_folders_are_known_by_their_pixels_and_listed_once(self, folders, monkeypatch):
        listed = []

        def watched(root):
            listed.append(root)
            return folder_records(root)

        monkeypatch.setattr(published, "folder_records", watched)
        found = self.own(published.imagenet_c(folders, NAMES, PHOTOS, Absent(4)))
        assert len(listed) == 1
        assert len({*found.values()}) == 2
        [path] = folders.glob("**/snow/5/n02/1.png")
        Image.new("RGB", (16, 16), (1, 2, 3)).save(path)
        again = self.own(published.imagenet_c(folders, NAMES, PHOTOS, Absent(4)))
        assert {name for name in found if found[name] != again[name]} == {"snow"}
        path.unlink()
        with pytest.raises(
            FileNotFoundError, match=r"snow/5/n02/1\.png: expected the same files under every corruption"
        ):
            published.imagenet_c(folders, NAMES, PHOTOS, Absent(4)).identity()


def test_missing_files_are_named(arrays):
    (arrays / "snow.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"found no snow\.npy"):
        published.cifar10_c(arrays, NAMES, CIFAR, clean())
    with pytest.raises(ValueError, match="CIFAR-10-C is for networks of CIFAR-10"):
        published.cifar10_c(arrays, NAMES, PHOTOS, clean())


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
        suite = published.cifar10_c(arrays, NAMES, CIFAR, Absent(COUNT))
        told = rf"snow\.npy: expected uint8 images of shape \(35, 32, 32, 3\), .* found {images.dtype} of shape"
        with pytest.raises(ValueError, match=told):
            suite.identity()

    @pytest.mark.parametrize(
        "labels", [np.zeros(35, np.float32), np.zeros((35, 1), int), np.zeros(34, int), np.zeros((35, 10), int)]
    )
    def test_labels_of_another_form_are_refused(self, arrays, labels):
        np.save(arrays / "labels.npy", labels)
        with pytest.raises(ValueError, match=rf"labels\.npy: expected .* found {labels.dtype} of shape"):
            published.cifar10_c(arrays, NAMES, CIFAR, clean())

    @pytest.mark.parametrize("name", ["snow", "labels"])
    def test_files_that_are_not_arrays_are_named(self, arrays, name):
        path = arrays / f"{name}.npy"
        whole = path.read_bytes()
        with (arrays / "archive").open("wb") as file:
            np.savez(file, a=np.arange(3))
        for content in (whole[:-1], b"", b"<html>not found</html>", (arrays / "archive").read_bytes()):
            path.write_bytes(content)
            with pytest.raises(ValueError, match=rf"{name}\.npy: expected a (whole )?\.npy file"):
                published.cifar10_c(arrays, NAMES, CIFAR, clean()).identity()
        np.save(path, np.array([{}], object))
        with pytest.raises(ValueError, match=rf"{name}\.npy: expected a whole \.npy file"):
            published.cifar10_c(arrays, NAMES, CIFAR, clean()).identity()

    def test_a_folder_that_is_not_there_is_told(self, tmp_path):
        for suite, info in ((published.cifar10_c, CIFAR), (published.imagenet_c, PHOTOS)):
            with pytest.raises(FileNotFoundError, match=r"nowhere: expected the folder of .* found no folder"):
                suite(tmp_path / "nowhere", NAMES, info, Absent(COUNT))


@pytest.fixture(params=["", "weather"])
def folders(request, tmp_path):
    for c, name in enumerate(NAMES):
        for severity in range(1, 6):
            for k, kind in enumerate(PHOTOS.class_names):
                folder = tmp_path / request.param / name / str(severity) / kind
                folder.mkdir(parents=True)
                for i in range(2):
                    shade = 100 * c + 10 * severity + 2 * k + i
                    Image.new("RGB", (16, 16), (shade,) * 3).save(folder / f"{i}.png")
    return tmp_path


def test_folders_are_found_whether_or_not_they_lie_below_their_kind(folders):
    suite = published.imagenet_c(folders, NAMES, PHOTOS, Absent(4))
    assert len(suite) == 4
    parts = read(suite, outcomes.blank({}, NAMES, 4))
    assert [cell for cell, _, _ in parts] == [Cell(name, severity) for name in NAMES for severity in range(1, 6)]
    for cell, _, batch in parts:
        shades = 100 * NAMES.index(cell.corruption) + 10 * cell.severity + np.arange(4)
        np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], shades)
        np.testing.assert_array_equal(batch["label"], [0, 0, 1, 1])


def test_photographs_are_paired_by_folders_and_names(folders, tmp_path):
    def own(*names):
        root = tmp_path / "-".join(names)
        for kind in PHOTOS.class_names:
            (root / kind).mkdir(parents=True)
            for name in names:
                (root / kind / f"{name}.jpeg").touch()
        return ImageSource(folder_records(root), View(16, 16))

    def suite(test):
        return published.imagenet_c(folders, NAMES, PHOTOS, test)

    np.testing.assert_array_equal(suite(Absent(4)).labels, [0, 0, 1, 1])
    assert suite(Absent(4)).paired is None
    assert suite(own("0", "1")).paired
    assert suite(own("0", "2")).paired is False
    # What is stored in shards has an order of its own.
    assert suite(array_source(np.zeros((4, 16, 16, 3), np.uint8), np.array([0, 0, 1, 1]), 2)).paired is False


def test_other_classes_are_refused(folders):
    other = DatasetInfo("photos", 2, (16, 16, 3), (0.5,) * 3, (0.2,) * 3, ("cat", "dog"))
    with pytest.raises(ValueError, match="differ from those the run was trained on"):
        published.imagenet_c(folders, NAMES, other, Absent(4))
    small = DatasetInfo("cifar10", 10, (32, 32, 3), (0.5,) * 3, (0.2,) * 3, tuple("0123456789"))
    with pytest.raises(ValueError, match=r"this run's data is cifar10, images of shape \(32, 32, 3\): use cifar10_c"):
        published.imagenet_c(folders, NAMES, small, Absent(4))
    gray = DatasetInfo("digits", 10, (8, 8, 1), (0.5,), (0.2,), tuple("0123456789"))
    with pytest.raises(ValueError, match=r"this run's data is digits, images of shape \(8, 8, 1\)$"):
        published.imagenet_c(folders / "nowhere", NAMES, gray, Absent(4))
    with pytest.raises(FileNotFoundError, match="found no five severities of frost"):
        published.imagenet_c(folders, ("fog", "frost"), PHOTOS, Absent(4))
