import shutil
from pathlib import Path

import numpy as np
import pytest

from bnn_jax.data import cifar, cifar10
from bnn_jax.data.archive import FOLDER, TEST_FILES, TRAIN_FILES
from bnn_jax.data.normalization import channel_stats
from bnn_jax.data.places import search_places


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No data in any of the usual places."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name in ("BNN_JAX_DATA", "TFDS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A full-size archive of patterns: image i of a file has the value i % 251 everywhere."""
    folder = tmp_path_factory.mktemp("archive") / FOLDER
    folder.mkdir()
    rows = np.repeat((np.arange(10_000) % 251).astype(np.uint8)[:, None], 3073, axis=1)
    rows[:, 0] = np.arange(10_000) % 10
    for name in TRAIN_FILES + TEST_FILES:
        (folder / name).write_bytes(rows.tobytes())
    yield folder
    shutil.rmtree(folder)


def test_real_data_has_the_published_statistics(cifar10_dir):
    splits = cifar10(str(cifar10_dir))
    assert splits.train.images.shape == (50_000, 32, 32, 3)
    assert splits.test.images.shape == (10_000, 32, 32, 3)
    assert np.bincount(splits.train.labels).tolist() == [5000] * 10
    assert np.bincount(splits.test.labels).tolist() == [1000] * 10
    stats = channel_stats(splits.train.images)
    np.testing.assert_allclose(stats.mean, (0.4914, 0.4822, 0.4465), atol=5e-5)
    np.testing.assert_allclose(stats.std, (0.2470, 0.2435, 0.2616), atol=5e-5)


def test_real_data_is_channels_last_and_upright(cifar10_dir):
    # Neighbouring pixels of photographs are alike along both axes of space only if the layout is right.
    images = cifar10(str(cifar10_dir)).test.images[:500].astype(float)
    down, across = np.abs(np.diff(images, axis=1)).mean(), np.abs(np.diff(images, axis=2)).mean()
    assert max(down, across) < 20
    # Skies are above: the top rows are brighter and bluer than the bottom rows.
    top, bottom = images[:, :6].mean((0, 1, 2)), images[:, -6:].mean((0, 1, 2))
    assert top.mean() > bottom.mean()
    assert top[2] - top[0] > bottom[2] - bottom[0]


@pytest.mark.parametrize("start", [".", ".."])
def test_archive_is_found_from_folder_and_parent(archive, start):
    splits = cifar10(str(archive / start))
    assert (len(splits.train), len(splits.test)) == (50_000, 10_000)
    assert splits.train.images[10_250].tolist() == np.full((32, 32, 3), 250).tolist()
    assert splits.info.class_names[splits.train.labels[3]] == "cat"
    assert splits.info.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("place", ["BNN_JAX_DATA", "TFDS_DATA_DIR", "home/tensorflow_datasets", "home/data", "data"])
def test_usual_places(nowhere, archive, monkeypatch, place):
    if place.isupper():
        monkeypatch.setenv(place, str(archive.parent))
    else:
        (nowhere / place).mkdir(parents=True)
        (nowhere / place / FOLDER).symlink_to(archive)
    assert len(cifar10().train) == 50_000


def test_order_of_places():
    places = search_places("", {"BNN_JAX_DATA": "/a", "TFDS_DATA_DIR": "/b"})
    home = Path.home()
    assert places == [Path("/a"), Path("/b"), home / "tensorflow_datasets", home / "data", Path("data")]
    assert search_places("/x", {"BNN_JAX_DATA": "/a"}) == [Path("/x")]


def test_subsets_are_balanced_nested_and_the_same_each_time(archive):
    small, large = cifar10(str(archive), train_size=50), cifar10(str(archive), train_size=1000)
    assert np.bincount(small.train.labels).tolist() == [5] * 10
    assert np.bincount(large.train.labels).tolist() == [100] * 10
    np.testing.assert_array_equal(cifar10(str(archive), train_size=50).train.images, small.train.images)
    assert set(small.train.images[:, 0, 0, 0].tolist()) <= set(large.train.images[:, 0, 0, 0].tolist())
    assert len(small.test) == 10_000


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_prepared_layouts_give_the_archives_order(tmp_path, monkeypatch, prepare_tfds, make_example, file_format):
    monkeypatch.setattr(cifar, "_TRAIN_EXAMPLES", 30)
    monkeypatch.setattr(cifar, "_TEST_EXAMPLES", 10)
    rng = np.random.default_rng(0)
    splits, written = {}, {}
    for split, n in (("train", 30), ("test", 10)):
        images, labels = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), np.arange(n) % 10
        records = [make_example(images[i], labels[i], f"{split}_{i:05d}") for i in rng.permutation(n)]
        splits[split], written[split] = [records[:7], records[7:]], (images, labels)
    prepare_tfds(tmp_path, "cifar10", file_format, splits, cifar.CLASS_NAMES)
    for directory in (tmp_path, tmp_path / "cifar10", tmp_path / "cifar10" / "3.0.2"):
        found = cifar10(str(directory), train_size=20, normalization="cifar10")
        assert np.bincount(found.train.labels).tolist() == [2] * 10
        assert found.info.mean == (0.4914, 0.4822, 0.4465)
        np.testing.assert_array_equal(found.test.images, written["test"][0])
    found = cifar10(str(tmp_path))
    np.testing.assert_array_equal(found.train.images, written["train"][0])
    np.testing.assert_array_equal(found.train.labels, written["train"][1])


def test_incomplete_and_foreign_prepared_sets(tmp_path, prepare_tfds, make_example):
    records = {split: [[make_example(np.zeros((32, 32, 3), np.uint8), 0, "a")]] for split in ("train", "test")}
    prepare_tfds(tmp_path / "a", "cifar10", "tfrecord", records, cifar.CLASS_NAMES)
    with pytest.raises(ValueError, match=r"expected 50,000 \+ 10,000 examples, found 1 \+ 1"):
        cifar10(str(tmp_path / "a"))
    prepare_tfds(tmp_path / "b", "cifar10", "tfrecord", records, ["x", "y"])
    with pytest.raises(ValueError, match=r"expected the classes \('airplane'.*found \('x', 'y'\)"):
        cifar10(str(tmp_path / "b"))


def test_nothing_found_lists_places_and_remedies(nowhere, monkeypatch):
    monkeypatch.setenv("BNN_JAX_DATA", str(nowhere / "mine"))
    (nowhere / "data" / "cifar-10-batches-py").mkdir(parents=True)
    with pytest.raises(FileNotFoundError) as error:
        cifar10()
    text = str(error.value)
    for part in (
        nowhere / "mine",
        nowhere / "home" / "tensorflow_datasets",
        nowhere / "home" / "data",
        nowhere / "data",
        "cifar-10-batches-py is the Python version",
        "cifar-10-binary.tar.gz | tar xz -C ~/data",
        "file_format='array_record'",
        "file_format='tfrecord'",
        "pip install -e '.[prepare]'",
    ):
        assert str(part) in text


def test_one_missing_file_is_named(archive, tmp_path):
    for name in TRAIN_FILES + TEST_FILES:
        if name != "data_batch_3.bin":
            (tmp_path / name).symlink_to(archive / name)
    with pytest.raises(FileNotFoundError, match=r"data_batch_3\.bin: expected a CIFAR-10 binary file"):
        cifar10(str(tmp_path))


@pytest.mark.parametrize("size", [-10, 55, 50_010])
def test_wrong_train_size(size):
    with pytest.raises(ValueError, match=rf"train_size to be 0 \(all\) or a multiple of 10.*found {size}"):
        cifar10(train_size=size)


def test_wrong_normalization():
    with pytest.raises(ValueError, match=r"normalization to be one of \['cifar10', 'imagenet'\], found 'x'"):
        cifar10(normalization="x")
