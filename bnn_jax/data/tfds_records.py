"""Sets that TensorFlow Datasets has prepared and that do not fit in memory: examples read as they are needed."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

from bnn_jax.data.images import Record
from bnn_jax.data.tfds_source import check_split, prepare_command
from bnn_jax.data.tfrecord import index_records

__all__ = ["PreparedRecords"]

Reader = Callable[[int], bytes]
# That a run has open beside its data.
_OTHER_FILES = 256


class PreparedRecords:
    """One split of a prepared set, in the order of its files; images stay encoded.

    Files are looked for at once and indexed when they are first needed: one cut short is found then. Lengths of records
    are checked; the checksums of their content only in array_record.

    Args:
      folder: a version's folder, as `bnn_jax.data.tfds_source.find_prepared` returns it.
      split: a split or a slice of one, as TFDS writes it.

    Attributes:
      class_names: one per class, in label order.

    Raises:
      FileNotFoundError: if a file is missing.
      ValueError: if there is no such split, the examples are not images with a label, or the process may not have as
        many files open as there are (array_record).
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
        if file_format == "array_record":
            _allow_open_files(len(self._parts))
        self._lock = Lock()
        self._readers: dict[int, Reader] = {}
        self._open = _OPENERS[file_format]

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Record:
        from tensorflow_datasets.proto import tf_example_pb2

        if not 0 <= index < len(self):
            raise IndexError(f"expected an index in [0, {len(self)}), found {index}")
        number = bisect_right(self._ends, index)
        part = self._parts[number]
        place = part.skip + index - (self._ends[number - 1] if number else 0)
        where = f"{part.filename}, example {place}"
        content = self._reader(number)(place)
        try:
            example = tf_example_pb2.Example.FromString(content)
        except Exception as error:  # Protobuf's own is of a package that is no requirement, so not to be imported
            raise ValueError(
                f"{where}: expected an intact example, found a damaged one ({error}). Copy the file again."
            ) from error
        feature = example.features.feature
        return Record(feature["image"].bytes_list.value[0], feature["label"].int64_list.value[0], where)

    def _reader(self, number: int) -> Reader:
        # Locked, so that threads do not index one file side by side.
        with self._lock:
            if number not in self._readers:
                self._readers[number] = self._open(self._parts[number])
            return self._readers[number]


def _allow_open_files(count: int) -> None:
    """Raises the process's limit of open files, as far as it may, to `count` more than it needs otherwise."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = count + _OTHER_FILES
    # Two splits, and whatever else a run has open, add up.
    wanted = soft + need if hard == resource.RLIM_INFINITY else min(soft + need, hard)
    if wanted < need:
        raise ValueError(
            f"expected to be allowed {need:,} open files, as the set has {count:,}, found a limit of {hard:,}. Raise "
            f"it (ulimit -n {need}), or prepare the set as tfrecord, whose files are opened one at a time."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _open_array_record(part: Any) -> Reader:
    from array_record.python.array_record_module import ArrayRecordReader

    # Groups of several records are decoded whole: reading ahead of a random access is for nothing.
    try:
        reader = ArrayRecordReader(part.filename, options="readahead_buffer_size:0")
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{part.filename}: expected an intact file, found a damaged one ({error})") from error
    _check_count(part, reader.num_records())

    def read(place: int) -> bytes:
        try:
            found: bytes = reader.read([place])[0]
        except RuntimeError as error:
            raise ValueError(
                f"{part.filename}: example {place} cannot be read ({error}). Copy the file again."
            ) from error
        return found

    return read


def _open_tfrecord(part: Any) -> Reader:
    path = Path(part.filename)
    index = index_records(path)
    _check_count(part, len(index.offsets))

    def read(place: int) -> bytes:
        # Opened each time: large sets have more files than a process may have open.
        with path.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), int(index.lengths[place]), int(index.offsets[place]))

    return read


_OPENERS = {"array_record": _open_array_record, "tfrecord": _open_tfrecord}


def _check_count(part: Any, found: int) -> None:
    if found != part.examples_in_shard:
        raise ValueError(
            f"{part.filename}: expected {part.examples_in_shard} examples, as dataset_info.json says, found {found}: "
            "the file is cut short or of another version. Copy or prepare it again."
        )
