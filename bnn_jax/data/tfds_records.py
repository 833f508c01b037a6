"""Sets that TensorFlow Datasets has prepared and that do not fit in memory: examples read as they are needed."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from bnn_jax.data.images import Record
from bnn_jax.data.tfds_source import check_split, prepare_command
from bnn_jax.data.tfrecord import index_records, map_file

__all__ = ["PreparedRecords"]

Reader = Callable[[int], bytes]


class PreparedRecords:
    """One split of a prepared set, in the order of its files; images stay encoded.

    Files are looked for at once and opened when they are first needed: a file cut short is found then. Lengths of
    records are checked; the checksums of their content only in array_record.

    Args:
      folder: a version's folder, as `bnn_jax.data.tfds_source.find_prepared` returns it.
      split: a split or a slice of one, as TFDS writes it.

    Attributes:
      class_names: one per class, in label order.

    Raises:
      FileNotFoundError: if a file is missing.
      ValueError: if there is no such split, or the examples are not images with a label.
    """

    def __init__(self, folder: Path, split: str) -> None:
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(os.fspath(folder))
        file_format = check_split(builder, folder, split)
        self.class_names = tuple(builder.info.features["label"].names)
        self._parts: list[Any] = list(builder.info.splits[split].file_instructions)
        missing = [part.filename for part in self._parts if not Path(part.filename).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{missing[0]}: expected a file of split {split!r}, found none ({len(missing)} of {len(self._parts)} "
                f"files are missing). Copy them, or prepare the set again: {prepare_command(builder.name)}"
            )
        taken = [part.examples_in_shard - part.skip if part.take == -1 else part.take for part in self._parts]
        self._ends = list(accumulate(taken))
        # Shards stay open: a thousand of them are a thousand small indices.
        self._open = cache(lambda number: _OPENERS[file_format](self._parts[number]))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Record:
        from tensorflow_datasets.proto import tf_example_pb2

        number = bisect_right(self._ends, index)
        part = self._parts[number]
        place = part.skip + index - (self._ends[number - 1] if number else 0)
        where = f"{part.filename}, example {place}"
        read = self._open(number)
        try:
            example = tf_example_pb2.Example.FromString(read(place))
        except Exception as error:  # Protobuf's own is of a package that is no requirement, so not to be imported
            raise ValueError(f"{where}: expected an intact example, found a damaged one. Copy the file.") from error
        feature = example.features.feature
        return Record(feature["image"].bytes_list.value[0], feature["label"].int64_list.value[0], where)


def _open_array_record(part: Any) -> Reader:
    from array_record.python.array_record_module import ArrayRecordReader

    # Groups of several records are decoded whole: reading ahead of a random access is for nothing.
    try:
        reader = ArrayRecordReader(part.filename, options="readahead_buffer_size:0")
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{part.filename}: expected an intact file, found a damaged one ({error})") from error
    _check_count(part, reader.num_records())
    return lambda place: reader.read([place])[0]


def _open_tfrecord(part: Any) -> Reader:
    path = Path(part.filename)
    index, data = index_records(path), map_file(path)
    _check_count(part, len(index.offsets))

    def read(place: int) -> bytes:
        start = int(index.offsets[place])
        return bytes(data[start : start + int(index.lengths[place])])

    return read


_OPENERS = {"array_record": _open_array_record, "tfrecord": _open_tfrecord}


def _check_count(part: Any, found: int) -> None:
    if found != part.examples_in_shard:
        raise ValueError(
            f"{part.filename}: expected {part.examples_in_shard} examples, as dataset_info.json says, found {found}: "
            "the file is cut short or of another version. Copy or prepare it again."
        )
