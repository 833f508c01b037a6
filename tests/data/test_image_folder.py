"""Folders of photographs as a data set, and ImageNet in each of its layouts."""

import numpy as np
import pytest
from PIL import Image

from bnn_jax.data import Absent, cifar10, image_folder, imagenet, outline_of, train_iterator
from bnn_jax.data.images import View

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
        (folder / "train" / "a" / "more").mkdir()
        Image.new("RGB", (9, 9)).save(folder / "train" / "a" / "more" / "x.webp")
        assert len(image_folder(str(folder)).train) == 10

    def test_an_empty_class_other_classes_and_no_folder_are_refused(self, folder, tmp_path):
        (folder / "train" / "d").mkdir()
        with pytest.raises(ValueError, match=r"d: expected images .* found none"):
            image_folder(str(folder))
        Image.new("RGB", (9, 9)).save(folder / "train" / "d" / "x.png")
        with pytest.raises(ValueError, match=r"expected the 4 classes of .*train, found 3. Only one of the two has d"):
            image_folder(str(folder))
        with pytest.raises(FileNotFoundError, match="expected the folders train/ and val/"):
            image_folder(str(tmp_path / "nowhere"))
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

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"size": 0}, "size"),
            ({"size": 300}, "size <= resize"),
            ({"scale": (0.5, 0.1)}, "scale"),
            ({"scale": (0.0, 0.1)}, "scale"),
            ({"scale": (1.1, 1.2)}, "begin at 1"),
            ({"ratio": (-1.0, 2.0)}, "ratio"),
        ],
    )
    def test_a_view_out_of_range_is_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            View(**options)


class TestTraining:
    def batches(self, folder, processes, steps=5, threads=1, start=0):
        """The global batches of some steps."""
        made = []
        source = image_folder(str(folder), size=16, resize=20).train
        for process in range(processes):
            iterator = train_iterator(
                source, batch_size=4, seed=3, process_index=process, process_count=processes, threads=threads
            )
            iterator.set_state({"next_index": start})
            made.append([next(iterator) for _ in range(steps - start)])
        return [np.concatenate([part[i]["image"] for part in made]) for i in range(steps - start)]

    @pytest.fixture
    def textured(self, tmp_path):
        root, rng = tmp_path / "textured", np.random.default_rng(0)
        for split in ("train", "val"):
            for name in "ab":
                (root / split / name).mkdir(parents=True)
                for i in range(3):
                    pixels = rng.integers(0, 256, (30 + i, 40, 3), np.uint8)
                    Image.fromarray(pixels).save(root / split / name / f"{i}.png")
        return root

    def test_views_do_not_depend_on_processes_threads_or_where_the_run_began(self, textured):
        whole = self.batches(textured, 1)
        for other in (self.batches(textured, 2), self.batches(textured, 1, threads=4)):
            np.testing.assert_array_equal(whole, other)
        np.testing.assert_array_equal(whole[3:], self.batches(textured, 2, start=3))

    def test_an_example_is_seen_otherwise_in_every_epoch_and_at_every_place(self, textured):
        flat = np.concatenate(self.batches(textured, 1, steps=6)).reshape(24, -1)
        assert len(np.unique(flat, axis=0)) == 24


@pytest.fixture
def thousand(tmp_path):
    """ImageNet's form: 1,000 classes, each with one image of two pixels."""
    image = tmp_path / "one.png"
    Image.new("RGB", (2, 1)).save(image)
    for split in ("train", "val"):
        for i in range(1000):
            folder = tmp_path / "imagenet" / split / f"n{i:08d}"
            folder.mkdir(parents=True)
            (folder / "x.png").hardlink_to(image)
    return tmp_path


class TestImageNet:
    def test_folders_are_found_from_above_and_by_the_environment(self, thousand, monkeypatch):
        for splits in (imagenet(str(thousand)), imagenet(str(thousand / "imagenet"))):
            assert (len(splits.train), len(splits.test), splits.info.num_classes) == (1000, 1000, 1000)
            assert splits.train[999]["label"] == 999
            assert splits.train[999]["image"].shape == (224, 224, 3)
            assert splits.info.class_names[2] == "n00000002"
        monkeypatch.setenv("BNN_JAX_DATA", str(thousand))
        assert len(imagenet().train) == 1000

    def test_another_number_of_classes_is_refused(self, folder):
        with pytest.raises(ValueError, match="expected 1,000 classes, found 3"):
            imagenet(str(folder))

    def test_where_it_is_not_the_error_says_where_was_looked_and_how_to_prepare_it(self, tmp_path):
        with pytest.raises(
            FileNotFoundError, match=r"(?s)expected train/ and val/.*imagenet2012.*download_and_prepare"
        ):
            imagenet(str(tmp_path))

    @pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
    def test_a_prepared_set_is_read_from_its_files(self, tmp_path, prepare_tfds, make_example, file_format):
        names = [f"n{i:08d}" for i in range(1000)]
        rng = np.random.default_rng(0)
        images = [rng.integers(0, 256, (30 + i, 40, 3), np.uint8) for i in range(7)]
        records = [make_example(image, 10 * i, str(i)) for i, image in enumerate(images)]
        examples = {"train": [records[:3], records[3:]], "validation": [records[:2]]}
        prepare_tfds(tmp_path, "imagenet2012", file_format, examples, names, (None, None, 3), "5.1.0")
        splits = imagenet(str(tmp_path), size=30, resize=30)
        assert (len(splits.train), len(splits.test), splits.info.class_names) == (7, 2, tuple(names))
        for i in (6, 0, 3, 2):
            item = splits.train[i]
            assert item["label"] == 10 * i
            if i == 0:
                np.testing.assert_array_equal(item["image"], images[0][:, 5:35])


class TestOutline:
    def test_it_has_the_facts_of_the_set_that_is_there(self, thousand):
        known, found = (
            outline_of(imagenet)(str(thousand), 64, 70, (0.08, 1.0), (0.75, 1.3)),
            imagenet(str(thousand), 64),
        )
        assert (len(known.train), len(known.test)) == (1_281_167, 50_000)
        for name in ("name", "num_classes", "image_shape", "mean", "std"):
            assert getattr(known.info, name) == getattr(found.info, name)

    def test_cifar10s_too(self):
        known = outline_of(cifar10)("", 500, "cifar10")
        assert (len(known.train), len(known.test), known.info.image_shape) == (500, 10_000, (32, 32, 3))

    def test_there_are_no_examples_in_it(self):
        with pytest.raises(FileNotFoundError, match="this is a dry run"):
            Absent(3)[0]
