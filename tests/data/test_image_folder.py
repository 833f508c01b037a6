"""Folders of photographs as a data set."""

import numpy as np
import pytest
from PIL import Image

from bnn_jax.data import image_folder

SIZES = [(40, 60), (60, 40), (33, 33)]


def colour(label, index):
    return (40 * label + 30, 10 * index, 77)


def write(root, classes=("b", "a", "c"), splits=("train", "val"), count=3):
    """Images of one colour each, in classes that are not written in order."""
    for split in splits:
        for name in classes:
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                label = sorted(classes).index(name)
                image = Image.new("RGB", SIZES[i % 3][::-1], colour(label, i))
                image.save(folder / f"{i}.{'PNG' if i else 'png'}")
    return root


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "set")


class TestImageFolder:
    def test_middles_and_labels_in_the_order_of_classes_and_names(self, folder):
        splits = image_folder(str(folder), size=16, resize=20)
        assert splits.info.class_names == ("a", "b", "c")
        assert (splits.info.image_shape, splits.info.num_classes, splits.info.name) == ((16, 16, 3), 3, "set")
        for source in (splits.train, splits.test):
            assert len(source) == 9
            for i in range(9):
                item = source[i]
                assert item["label"] == i // 3
                assert item["label"].dtype == np.int32
                np.testing.assert_array_equal(item["image"], np.broadcast_to(colour(i // 3, i % 3), (16, 16, 3)))

    def test_a_draw_is_a_function_of_its_seed_and_differs_between_seeds(self, folder):
        rows, columns = np.mgrid[:200, :300]
        pixels = np.stack([rows, columns % 256, 0 * rows], -1).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "train" / "a" / "0.png")
        source = image_folder(str(folder), size=16, resize=20).train
        first, again, other = (source.draw(0, seed)["image"] for seed in [(0, 5, 1), (0, 5, 1), (0, 6, 1)])
        np.testing.assert_array_equal(first, again)
        assert np.abs(first.astype(int) - other).max() > 5

    def test_other_files_and_hidden_folders_are_no_images(self, folder):
        (folder / "train" / "a" / "notes.txt").write_text("x")
        (folder / "train" / ".cache").mkdir()
        for name in (".ipynb_checkpoints", "more"):
            (folder / "train" / "a" / name).mkdir()
            Image.new("RGB", (9, 9)).save(folder / "train" / "a" / name / "y.tiff")
        (folder / "train" / "a" / "._0.png").write_bytes(b"of a file system")
        Image.new("RGB", (9, 9)).save(folder / "train" / "a" / "more" / "x.webp")
        assert len(image_folder(str(folder)).train) == 11

    def test_an_empty_class_other_classes_and_no_folder_are_refused(self, folder, tmp_path):
        (folder / "train" / "d").mkdir()
        with pytest.raises(ValueError, match=r"d: expected images .* found none"):
            image_folder(str(folder))
        Image.new("RGB", (9, 9)).save(folder / "train" / "d" / "x.png")
        with pytest.raises(ValueError, match=r"expected the 4 classes of .*train, found 3. Only one of the two has d"):
            image_folder(str(folder))
        with pytest.raises(FileNotFoundError, match="expected the folders train/ and val/"):
            image_folder(str(tmp_path / "nowhere"))
        with pytest.raises(ValueError, match="give directory"):
            image_folder()
        flat = tmp_path / "flat"
        for split in ("train", "val"):
            (flat / split).mkdir(parents=True)
            Image.new("RGB", (9, 9)).save(flat / split / "x.png")
        with pytest.raises(ValueError, match="sorted into a folder of their class each"):
            image_folder(str(flat))

    def test_a_damaged_image_is_named(self, folder):
        (folder / "train" / "b" / "1.PNG").write_bytes(b"no image")
        source = image_folder(str(folder)).train
        with pytest.raises(ValueError, match=r"b/1\.PNG: expected an encoded image"):
            source.draw(4, (0,))
