"""TFRecord files without TensorFlow.

A record is ``uint64 length, uint32 crc(length), data, uint32 crc(data)``, little-endian. The file holds no
index, so one is made by walking over the lengths.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bnn_jax.data.crc32c import masked_crc32c

__all__ = ["RecordIndex", "index_records", "read_records"]

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_HEADER = _LENGTH.size + _CRC.size
_CHECKED_TOGETHER = 2048
_REMEDY = "Copy or prepare the file again."


class RecordIndex(NamedTuple):
    """Where the records of one file are: ``int64 (n,)`` byte offsets of the data, and lengths."""

    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]


def _map(path: Path) -> memoryview:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a TFRecord file, found none. {_REMEDY}")
    # An empty file cannot be mapped.
    return np.memmap(path, np.uint8, mode="r").data if path.stat().st_size else memoryview(b"")


def _first_difference(stored: Sequence[int], payloads: Sequence[bytes]) -> int | None:
    different = masked_crc32c(payloads) != np.asarray(stored, np.uint32)
    return int(different.argmax()) if different.any() else None


def index_records(path: Path) -> RecordIndex:
    """Finds every record of a file, checking the lengths' checksums and the end of the file.

    Args:
      path: the TFRecord file.

    Returns:
      The index, for random access.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if a length is corrupt or the file ends inside a record.
    """
    data = _map(path)
    starts, headers, end = [], [], 0
    while end + _HEADER <= len(data):
        starts.append(end)
        headers.append(bytes(data[end : end + _HEADER]))
        end += _HEADER + _LENGTH.unpack_from(headers[-1])[0] + _CRC.size
    # Checksums first: a corrupt length also leads outside the file, but is not a file cut short.
    stored = [_CRC.unpack_from(header, _LENGTH.size)[0] for header in headers]
    wrong = _first_difference(stored, [header[: _LENGTH.size] for header in headers])
    if wrong is not None:
        raise ValueError(
            f"{path}: expected record {wrong} at byte {starts[wrong]:,} to begin with a length and its "
            f"checksum, found another checksum: the file is damaged or is not a TFRecord file. {_REMEDY}"
        )
    if end != len(data):
        record = len(starts) - 1 if end > len(data) else len(starts)
        need = end if end > len(data) else end + _HEADER
        raise ValueError(
            f"{path}: expected record {record} to end at byte {need:,} or later, found the end of the "
            f"file at byte {len(data):,}: the file is cut short. {_REMEDY}"
        )
    lengths = [_LENGTH.unpack_from(header)[0] for header in headers]
    return RecordIndex(np.asarray(starts, np.int64) + _HEADER, np.asarray(lengths, np.int64))


def read_records(path: Path) -> list[bytes]:
    """Reads a whole file, checking every checksum.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is damaged or cut short.
    """
    index = index_records(path)
    data = _map(path)
    bounds = list(zip(index.offsets.tolist(), (index.offsets + index.lengths).tolist(), strict=True))
    records = [bytes(data[start:end]) for start, end in bounds]
    for first in range(0, len(records), _CHECKED_TOGETHER):
        last = first + _CHECKED_TOGETHER
        stored = [_CRC.unpack_from(data, end)[0] for _, end in bounds[first:last]]
        wrong = _first_difference(stored, records[first:last])
        if wrong is not None:
            raise ValueError(
                f"{path}: expected record {first + wrong} at byte {bounds[first + wrong][0]:,} to agree with "
                f"its checksum, found that it does not: the file is damaged. {_REMEDY}"
            )
    return records
