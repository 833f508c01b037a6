"""The binary files in which CIFAR-10 is distributed: 1 label byte, then 3,072 pixel bytes, planar RGB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["FOLDER", "TEST_FILES", "TRAIN_FILES", "is_archive", "read_archive", "read_batch"]

FOLDER = "cifar-10-batches-bin"
TRAIN_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST_FILES = ("test_batch.bin",)

_SIDE, _CHANNELS, _CLASSES = 32, 3, 10
_RECORD_BYTES = 1 + _CHANNELS * _SIDE * _SIDE
_RECORDS_PER_FILE = 10_000
_REMEDY = "Unpack cifar-10-binary.tar.gz again (and download it again if that does not help)."

Arrays = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]


def is_archive(folder: Path) -> bool:
    """Whether ``folder`` holds any of the binary files, complete or not."""
    return any((folder / name).is_file() for name in TRAIN_FILES + TEST_FILES)


def read_batch(path: Path, records: int = _RECORDS_PER_FILE) -> Arrays:
    """Reads one binary file.

    Args:
      path: the file.
      records: the number of examples it must hold.

    Returns:
      images ``uint8 (records, 32, 32, 3)`` and labels ``int32 (records,)``.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if its size or one of its labels is wrong.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a CIFAR-10 binary file, found none. {_REMEDY}")
    expected, found = records * _RECORD_BYTES, path.stat().st_size
    if found != expected:
        raise ValueError(
            f"{path}: expected {expected:,} bytes ({records:,} records of {_RECORD_BYTES:,}), found "
            f"{found:,}: the file is {'cut short' if found < expected else 'too long'}. {_REMEDY}"
        )
    rows = np.fromfile(path, np.uint8).reshape(records, _RECORD_BYTES)
    labels = rows[:, 0].astype(np.int32)
    if labels.max() >= _CLASSES:
        index = int((labels >= _CLASSES).argmax())
        raise ValueError(
            f"{path}: expected label bytes below {_CLASSES}, found {labels[index]} in record {index}: the "
            f"file is damaged, or it is CIFAR-100. {_REMEDY}"
        )
    planar = rows[:, 1:].reshape(records, _CHANNELS, _SIDE, _SIDE)
    return np.ascontiguousarray(planar.transpose(0, 2, 3, 1)), labels


def read_archive(folder: Path) -> tuple[Arrays, Arrays]:
    """Reads the five training files and the test file, in the original order.

    Returns:
      ``(train, test)``, each images ``uint8 (N, 32, 32, 3)`` and labels ``int32 (N,)``.

    Raises:
      FileNotFoundError: if a file is missing.
      ValueError: if a file is damaged.
    """
    batches = [read_batch(folder / name) for name in TRAIN_FILES]
    images, labels = zip(*batches, strict=True)
    return (np.concatenate(images), np.concatenate(labels)), read_batch(folder / TEST_FILES[0])
