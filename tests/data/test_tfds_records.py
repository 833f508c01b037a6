"""Prepared sets that are read example by example."""

import numpy as np
import pytest

from bnn_jax.data import views
from bnn_jax.data.tfds_records import PreparedRecords

FORMATS = ["tfrecord", "array_record"]


@pytest.fixture
def prepared(tmp_path, prepare_tfds, make_example):
    def write(file_format):
        rng = np.random.default_rng(0)
        images = [rng.integers(0, 256, (4, 5 + i, 3), np.uint8) for i in range(9)]
        records = [make_example(image, i % 3, str(i)) for i, image in enumerate(images)]
        shards = {"train": [records[:4], records[4:5], records[5:]], "test": [records[:1]]}
        return prepare_tfds(tmp_path, "pets", file_format, shards, list("abc"), (None, None, 3), "1.0.0"), images

    return write


@pytest.mark.parametrize("file_format", FORMATS)
class TestPreparedRecords:
    def test_examples_of_all_files_in_any_order(self, prepared, file_format):
        folder, images = prepared(file_format)
        records = PreparedRecords(folder, "train")
        assert (len(records), records.class_names) == (9, ("a", "b", "c"))
        for i in (8, 0, 4, 5, 3, 8):
            record = records[i]
            assert record.label == i % 3
            np.testing.assert_array_equal(np.asarray(views.decode(record.encoded, record.where)), images[i])

    def test_a_slice_begins_and_ends_inside_files(self, prepared, file_format):
        folder, images = prepared(file_format)
        records = PreparedRecords(folder, "train[2:7]")
        assert len(records) == 5
        for i in range(5):
            found = np.asarray(views.decode(records[i].encoded, ""))
            np.testing.assert_array_equal(found, images[2 + i])

    def test_a_missing_file_is_refused_at_once(self, prepared, file_format):
        folder, _ = prepared(file_format)
        next(folder.glob("*train*00001*")).unlink()
        with pytest.raises(
            FileNotFoundError, match=r"00001-of-00003: expected a file of split 'train', found none \(1 of 3"
        ):
            PreparedRecords(folder, "train")

    def test_a_file_cut_short_is_named_when_it_is_first_read(self, prepared, file_format):
        folder, _ = prepared(file_format)
        shard = next(folder.glob("*train*00002*"))
        shard.write_bytes(shard.read_bytes()[:-40])
        records = PreparedRecords(folder, "train")
        assert records[0].label == 0
        with pytest.raises(ValueError, match="00002-of-00003"):
            records[8]

    def test_a_file_of_another_version_is_named(self, prepared, file_format):
        folder, _ = prepared(file_format)
        one, other = (next(folder.glob(f"*train*0000{i}*")) for i in (1, 2))
        one.write_bytes(other.read_bytes())
        with pytest.raises(ValueError, match=r"expected 1 examples, as dataset_info\.json says, found 4"):
            PreparedRecords(folder, "train")[4]

    def test_a_damaged_example_is_named(self, prepared, file_format):
        folder, _ = prepared(file_format)
        shard = next(folder.glob("*train*00001*"))
        content = bytearray(shard.read_bytes())
        place = content.index(b"image")
        content[place - 8 : place + 8] = b"\xff" * 16
        shard.write_bytes(bytes(content))
        with pytest.raises(ValueError, match="00001-of-00003"):
            PreparedRecords(folder, "train")[4]

    @pytest.mark.parametrize("index", [-1, 9])
    def test_an_index_out_of_range_is_none(self, prepared, file_format, index):
        folder, _ = prepared(file_format)
        with pytest.raises(IndexError, match=rf"expected an index in \[0, 9\), found {index}"):
            PreparedRecords(folder, "train")[index]

    def test_more_files_than_a_process_may_have_open_are_read(
        self, tmp_path, prepare_tfds, make_example, run_python, file_format
    ):
        records = [[make_example(np.zeros((2, 2, 3), np.uint8), 0, str(i))] for i in range(300)]
        folder = prepare_tfds(tmp_path, "pets", file_format, {"train": records}, ["a"], (None, None, 3), "1.0.0")
        code = f"""
            import resource
            from pathlib import Path
            resource.setrlimit(resource.RLIMIT_NOFILE, (200, 2000))
            from bnn_jax.data.tfds_records import PreparedRecords
            records = PreparedRecords(Path({str(folder)!r}), "train")
            print(sum(records[i].label == 0 for i in range(300)))
        """
        assert run_python(code).split()[-1] == "300"

    def test_an_unknown_split_is_refused_with_those_there_are(self, prepared, file_format):
        folder, _ = prepared(file_format)
        with pytest.raises(ValueError, match=r"expected a split among \['test', 'train'\], found 'val'"):
            PreparedRecords(folder, "val")


def test_a_limit_of_open_files_that_cannot_be_raised_is_refused_with_what_to_do(tmp_path, prepared, monkeypatch):
    import resource

    folder, _ = prepared("array_record")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 150))
    with pytest.raises(ValueError, match=r"ulimit -n 259.* or prepare the set as tfrecord"):
        PreparedRecords(folder, "train")
