"""CIFAR-10-C as it is published: an array for each corruption."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bnn_jax.data import Absent, DatasetInfo, Source, array_source
from bnn_jax.evaluation.corruptions import SEVERITIES
from bnn_jax.evaluation.robustness.identity import labels_of
from bnn_jax.evaluation.robustness.outcomes import CLEAN, Cell
from bnn_jax.evaluation.robustness.published import Published, leave_out

URL = "https://zenodo.org/records/2535967"
# Classes and image shape.
CIFAR = (10, (32, 32, 3))


def open_suite(root: Path, names: Sequence[str], info: DatasetInfo, test: Source) -> Published:
    """CIFAR-10-C: `root/<corruption>.npy`, uint8 (50,000, 32, 32, 3), 10,000 of each severity, and `labels.npy`.

    Args:
      root: the folder.
      names: of the corruptions that are wanted.
      info: of the set that the run was trained on.
      test: its clean test images, if they are there.

    Raises:
      FileNotFoundError: if files are missing.
      ValueError: if they are damaged, or the run was trained on something else, or its test images are others.
    """
    if (info.num_classes, info.image_shape) != CIFAR:
        raise ValueError(
            f"CIFAR-10-C is for networks of CIFAR-10; this run's data is {info.name}, {info.num_classes} "
            f"classes of images {info.image_shape}"
        )
    missing = [name for name in (*names, "labels") if not (root / f"{name}.npy").is_file()]
    if missing:
        raise FileNotFoundError(
            f"{root}: expected CIFAR-10-C, found no {', '.join(f'{name}.npy' for name in missing)}. "
            f"Get it from {URL} and give the unpacked folder with --data{leave_out(missing, names)}"
        )
    labels = _array(root / "labels.npy")
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or len(labels) % len(SEVERITIES):
        raise ValueError(
            f"{root / 'labels.npy'}: expected as many integer labels for each of 5 severities, (50,000,), found "
            f"{labels.dtype} of shape {labels.shape}"
        )
    count = len(labels) // len(SEVERITIES)
    each = labels.reshape(len(SEVERITIES), count)
    others = [s for s, part in zip(SEVERITIES, each, strict=True) if np.any(part != each[0])]
    if others:
        raise ValueError(
            f"{root / 'labels.npy'}: expected the same {count:,} labels for each severity, found others for severity "
            f"{', '.join(map(str, others))}. Get it again from {URL}"
        )
    first, clean = each[0].astype(np.int64), labels_of(test)
    if not isinstance(test, Absent) and len(test) != count:
        raise ValueError(
            f"{root / 'labels.npy'}: expected labels of the run's own {len(test):,} test images for each of 5 "
            f"severities, found {count:,} for each. Get the set whole from {URL}, if the run's is CIFAR-10's"
        )
    if clean is not None and not np.array_equal(clean, first):
        raise ValueError(
            f"{root}: expected the {count:,} test images of {info.name} in their order, found that the run's own test "
            f"set has {np.sum(clean != first):,} other labels. It is another set than CIFAR-10-C was made from, or in "
            "another order"
        )

    def find(cell: Cell) -> Source:
        if cell == CLEAN:
            return test
        path, part = root / f"{cell.corruption}.npy", slice((cell.severity - 1) * count, cell.severity * count)
        images = _array(path)
        expected = (len(labels), *info.image_shape)
        if (images.shape, images.dtype) != (expected, np.uint8):
            raise ValueError(
                f"{path}: expected uint8 images of shape {expected}, one for each of labels.npy, found {images.dtype} "
                f"of shape {images.shape}. Get it from {URL}"
            )
        return array_source(images[part], labels[part], info.num_classes, str(path))

    return Published(count, find, find, first, None if isinstance(test, Absent) else clean is not None, tuple(names))


def present(root: Path, name: str) -> bool:
    """Whether a folder holds a corruption. The extra ones are an archive of their own."""
    return (root / f"{name}.npy").is_file()


def _array(path: Path) -> np.ndarray:
    """A stored array, not read yet.

    Raises:
      ValueError: if the file is not a whole `.npy` file.
    """
    try:
        found: np.ndarray = np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        raise ValueError(f"{path}: expected a whole .npy file, found one that cannot be read. Get it again") from error
    return found
