"""ImageNet-C's folders."""

import numpy as np
import pytest
from PIL import Image

from bnn_jax.data import Absent, DatasetInfo, array_source
from bnn_jax.data.image_folder import folder_records
from bnn_jax.data.images import ImageSource, View
from bnn_jax.evaluation.robustness import imagenet_c, outcomes
from bnn_jax.evaluation.robustness.outcomes import Cell
from tests.evaluation.robustness.test_cifar10_c import own_checksums, read

NAMES = ("fog", "snow")
PHOTOS = DatasetInfo("imagenet", 2, (16, 16, 3), (0.5,) * 3, (0.2,) * 3, ("n01", "n02"))


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
    suite = imagenet_c.open_suite(folders, NAMES, PHOTOS, Absent(4))
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
        return imagenet_c.open_suite(folders, NAMES, PHOTOS, test)

    np.testing.assert_array_equal(suite(Absent(4)).labels, [0, 0, 1, 1])
    assert suite(Absent(4)).paired is None
    assert suite(own("0", "1")).paired
    assert suite(own("0", "2")).paired is False
    # What is stored in shards has an order of its own.
    assert suite(array_source(np.zeros((4, 16, 16, 3), np.uint8), np.array([0, 0, 1, 1]), 2)).paired is False


def test_sets_that_are_not_whole_are_named(folders):
    def own(count):
        return array_source(np.zeros((count, 16, 16, 3), np.uint8), np.arange(count) % 2, 2)

    with pytest.raises(ValueError, match=r"fog/1: expected as many images as the run's own test set has, 5, found 4\."):
        imagenet_c.open_suite(folders, NAMES, PHOTOS, own(5))
    [path] = folders.glob("**/snow/3/n02/1.png")
    path.unlink()
    suite = imagenet_c.open_suite(folders, NAMES, PHOTOS, own(4))
    with pytest.raises(
        ValueError, match=r"snow/3: expected as many images as in .*fog/1, 4, found 3\. One of the two is not whole"
    ):
        read(suite, outcomes.blank({}, NAMES, 4))


def test_other_classes_are_refused(folders):
    other = DatasetInfo("photos", 2, (16, 16, 3), (0.5,) * 3, (0.2,) * 3, ("cat", "dog"))
    with pytest.raises(ValueError, match="differ from those the run was trained on"):
        imagenet_c.open_suite(folders, NAMES, other, Absent(4))
    small = DatasetInfo("cifar10", 10, (32, 32, 3), (0.5,) * 3, (0.2,) * 3, tuple("0123456789"))
    with pytest.raises(ValueError, match=r"this run's data is cifar10, images of shape \(32, 32, 3\): use cifar10_c"):
        imagenet_c.open_suite(folders, NAMES, small, Absent(4))
    gray = DatasetInfo("digits", 10, (8, 8, 1), (0.5,), (0.2,), tuple("0123456789"))
    with pytest.raises(ValueError, match=r"this run's data is digits, images of shape \(8, 8, 1\)$"):
        imagenet_c.open_suite(folders / "nowhere", NAMES, gray, Absent(4))
    with pytest.raises(FileNotFoundError, match=r"found no frost\. Get it .*; or add frost to --leave_out$"):
        imagenet_c.open_suite(folders, ("fog", "frost"), PHOTOS, Absent(4))
    [place] = folders.glob("**/snow/3")
    place.rename(place.with_name("three"))
    with pytest.raises(
        FileNotFoundError, match=r"found no (weather/)?snow/3, frost\. .* add snow,frost to --leave_out$"
    ):
        imagenet_c.open_suite(folders, ("fog", "snow", "frost"), PHOTOS, Absent(4))
    with pytest.raises(FileNotFoundError, match=r"found no frost\. Get it .* and give the folder with --data$"):
        imagenet_c.open_suite(folders, ("frost",), PHOTOS, Absent(4))


def test_folders_are_known_by_their_pixels_and_listed_once(folders, monkeypatch):
    listed = []

    def watched(root):
        listed.append(root)
        return folder_records(root)

    monkeypatch.setattr(imagenet_c, "folder_records", watched)
    found = own_checksums(imagenet_c.open_suite(folders, NAMES, PHOTOS, Absent(4)))
    assert len(listed) == 1
    assert len({*found.values()}) == 2
    [path] = folders.glob("**/snow/2/n02/1.png")
    Image.new("RGB", (16, 16), (1, 2, 3)).save(path)
    again = own_checksums(imagenet_c.open_suite(folders, NAMES, PHOTOS, Absent(4)))
    assert {name for name in found if found[name] != again[name]} == {"snow"}
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"snow/2/n02/1\.png: expected the same files under every corruption"):
        imagenet_c.open_suite(folders, NAMES, PHOTOS, Absent(4)).identity()
