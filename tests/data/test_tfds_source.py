import numpy as np
import pytest

from bnn_jax.data import tfds_images
from bnn_jax.data.tfds_source import find_prepared, read_split

FORMATS = ["tfrecord", "array_record"]
NAMES = ["cat", "dog", "eel"]


def _arrays(n, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 9, 7, channels), dtype=np.uint8), rng.integers(0, 3, n)


@pytest.fixture
def prepared(tmp_path, prepare_tfds, make_example):
    def write(file_format="tfrecord", channels=3, shape=None, labels=None, name="pets", version="1.0.0"):
        examples = {}
        for split, n in (("train", 11), ("test", 4)):
            images, drawn = _arrays(n, channels, seed=n)
            drawn = drawn if labels is None else labels[:n]
            records = [make_example(*pair, f"{split}_{i}") for i, pair in enumerate(zip(images, drawn, strict=True))]
            examples[split] = [records[:5], records[5:]] if split == "train" else [records]
        shape = shape or (9, 7, channels)
        return prepare_tfds(tmp_path, name, file_format, examples, NAMES, shape, version)

    return write


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("channels", [1, 3])
def test_reads_what_was_written(tmp_path, prepared, file_format, channels):
    prepared(file_format, channels)
    splits = tfds_images("pets", str(tmp_path))
    for split, n in ((splits.train, 11), (splits.test, 4)):
        images, labels = _arrays(n, channels, seed=n)
        np.testing.assert_array_equal(split.images, images)
        np.testing.assert_array_equal(split.labels, labels)
    assert splits.info.class_names == tuple(NAMES)
    assert splits.info.num_classes == 3
    np.testing.assert_allclose(splits.info.mean, (splits.train.images / 255).mean((0, 1, 2)))


@pytest.mark.parametrize("file_format", FORMATS)
def test_slices_cross_shards(prepared, file_format):
    folder = prepared(file_format)
    part = read_split(folder, "train[3:8]")
    np.testing.assert_array_equal(part.images, _arrays(11, seed=11)[0][3:8])
    assert part.ids == tuple(f"train_{i}".encode() for i in range(3, 8))


def test_newest_version_is_found_from_three_starting_points(tmp_path, prepared):
    prepared(version="9.0.0")
    newest = prepared(version="10.0.0")
    assert find_prepared(tmp_path, "pets") == newest
    assert find_prepared(tmp_path / "pets", "pets") == newest
    assert find_prepared(newest, "pets") == newest
    assert find_prepared(tmp_path / "pets" / "9.0.0", "pets") == tmp_path / "pets" / "9.0.0"
    assert find_prepared(tmp_path, "plants") is None


def test_same_result_without_any_tensorflow(prepared):
    import sys

    read_split(prepared(), "test")
    assert "tensorflow" not in sys.modules


def _damage(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)


def test_missing_set_says_how_to_prepare_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)pets/<version>.*builder\('pets', file_format='array_record'"):
        tfds_images("pets", str(tmp_path))


@pytest.mark.parametrize("file_format", FORMATS)
def test_missing_shard(prepared, file_format):
    folder = prepared(file_format)
    (folder / f"pets-train.{file_format}-00001-of-00002").unlink()
    with pytest.raises(FileNotFoundError, match=r"00001-of-00002: expected an? \w+ file, found none"):
        read_split(folder, "train")


def test_cut_tfrecord(prepared):
    folder = prepared()
    path = folder / "pets-train.tfrecord-00000-of-00002"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"00000-of-00002: expected record 4 .*cut short"):
        read_split(folder, "train")


def test_tfrecord_cut_between_records(prepared, tfrecord_writer):
    folder = prepared()
    path = folder / "pets-train.tfrecord-00000-of-00002"
    tfrecord_writer(path, [b"12345"] * 3)
    with pytest.raises(ValueError, match=r"00000-of-00002: expected 5 examples, as dataset_info.json says, found 3"):
        read_split(folder, "train")


@pytest.mark.parametrize("size", [0, 1000, 70_000])
def test_cut_array_record(prepared, size):
    folder = prepared("array_record")
    path = folder / "pets-test.array_record-00000-of-00001"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"00000-of-00001: expected (4 examples|an intact ArrayRecord)"):
        read_split(folder, "test")


def test_corrupt_array_record(prepared):
    folder = prepared("array_record")
    path = folder / "pets-test.array_record-00000-of-00001"
    _damage(path, path.read_bytes().index(b"PNG") + 30)
    with pytest.raises(ValueError, match=r"00000-of-00001: expected (4 examples|an intact ArrayRecord)"):
        read_split(folder, "test")


def test_corrupt_tfrecord(prepared):
    folder = prepared()
    path = folder / "pets-test.tfrecord-00000-of-00001"
    _damage(path, path.read_bytes().index(b"PNG") + 30)
    with pytest.raises(ValueError, match=r"00000-of-00001: expected record 0 .*checksum.*damaged"):
        read_split(folder, "test")


def test_not_an_image(tmp_path, prepare_tfds, make_example):
    record = make_example(np.zeros((9, 7, 3), np.uint8), 0, "a").replace(b"PNG", b"GNP")
    folder = prepare_tfds(tmp_path, "pets", "tfrecord", {"test": [[record]]}, NAMES, (9, 7, 3))
    with pytest.raises(ValueError, match=r"split test, example 0: expected an encoded image.*Pillow"):
        read_split(folder, "test")


def test_images_of_several_sizes(tmp_path, prepare_tfds, make_example):
    records = [make_example(np.zeros((9, 7 + i, 3), np.uint8), 0, "a") for i in range(2)]
    folder = prepare_tfds(tmp_path, "pets", "tfrecord", {"test": [records]}, NAMES, (None, None, 3))
    with pytest.raises(ValueError, match=r"example 1: expected an image of shape \(9, 7, 3\).*found \(9, 8, 3\)"):
        read_split(folder, "test")


def test_label_out_of_range(prepared):
    folder = prepared(labels=[0, 1, 5, 0, 0, 0, 0, 0, 0, 0, 0])
    with pytest.raises(ValueError, match=r"split train: expected labels in \[0, 3\), found 5 at index 2"):
        read_split(folder, "train")


def test_unknown_split_and_normalization(tmp_path, prepared):
    prepared()
    with pytest.raises(ValueError, match=r"split among \['test', 'train'\], found 'validation'"):
        tfds_images("pets", str(tmp_path), test_split="validation")
    with pytest.raises(ValueError, match=r"normalization to be one of \['imagenet', 'train'\], found 'x'"):
        tfds_images("pets", str(tmp_path), normalization="x")


def test_unreadable_format(prepared):
    folder = prepared()
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace('"tfrecord"', '"riegeli"'))
    with pytest.raises(ValueError, match=r"expected file format tfrecord or array_record, found riegeli"):
        read_split(folder, "train")


def test_sets_of_another_kind(tmp_path):
    import tensorflow_datasets as tfds

    folder = tmp_path / "texts" / "1.0.0"
    folder.mkdir(parents=True)
    identity = tfds.core.DatasetIdentity(name="texts", version="1.0.0", data_dir=str(folder), module_name="test")
    features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    info.set_file_format("tfrecord")
    info.write_to_directory(str(folder))
    with pytest.raises(ValueError, match=r"expected a feature 'image' of type Image.*from_arrays"):
        read_split(folder, "train")
