"""CRC-32C of many records at once, in NumPy: TFRecord files carry one for each record."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

__all__ = ["crc32c", "masked_crc32c"]

_POLYNOMIAL = 0x82F63B78
_ONES = 0xFFFFFFFF
_STRIDE = 8


@lru_cache(maxsize=1)
def _tables() -> npt.NDArray[np.uint32]:
    """``uint32 (8, 256)``: row k moves a byte past k further bytes."""
    byte = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        byte = np.where(byte & 1, (byte >> 1) ^ np.uint32(_POLYNOMIAL), byte >> 1)
    rows = [byte]
    for _ in range(_STRIDE - 1):
        rows.append(rows[0][rows[-1] & 0xFF] ^ (rows[-1] >> 8))
    return np.stack(rows)


def _crc_of_few_bytes(record: bytes) -> int:
    crc = _ONES
    for byte in record:
        crc = int(_tables()[0][(crc ^ byte) & 0xFF]) ^ (crc >> 8)
    return crc ^ _ONES


def crc32c(records: Sequence[bytes]) -> npt.NDArray[np.uint32]:
    """CRC-32C (Castagnoli) of each record.

    The records are worked on side by side, eight bytes a round, so that the interpreter's cost is shared by
    all of them: thousands of small images are checked in well under a second.

    Args:
      records: byte strings of any lengths; best when the lengths are alike, as memory is
        ``len(records) * max(length)``.

    Returns:
      ``uint32 (len(records),)``.
    """
    if not records:
        return np.zeros(0, np.uint32)
    width = -(-max(map(len, records)) // _STRIDE) * _STRIDE
    # Right-aligned: leading zeros leave a register of zero as it is, so no length needs a case of its own.
    rows = np.zeros((len(records), max(width, _STRIDE)), np.uint8)
    for row, record in zip(rows, records, strict=True):
        if len(record) >= 4:
            row[-len(record) :] = np.frombuffer(record, np.uint8)
            # The register really starts as ones; that equals inverting the first four bytes.
            row[rows.shape[1] - len(record) :][:4] ^= 0xFF
    tables = _tables()
    crc = np.zeros(len(records), np.uint32)
    for column in np.ascontiguousarray(rows.T).reshape(-1, _STRIDE, len(records)):
        low = [column[k] ^ (crc >> np.uint32(8 * k)).astype(np.uint8) for k in range(4)]
        crc = np.zeros_like(crc)
        for k, byte in enumerate([*low, *column[4:]]):
            crc ^= tables[_STRIDE - 1 - k][byte]
    crc ^= np.uint32(_ONES)
    for index, record in enumerate(records):
        if len(record) < 4:
            crc[index] = _crc_of_few_bytes(record)
    return crc


def masked_crc32c(records: Sequence[bytes]) -> npt.NDArray[np.uint32]:
    """The CRCs as TFRecord stores them: rotated and offset, ``uint32 (len(records),)``."""
    crc = crc32c(records)
    return ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)
