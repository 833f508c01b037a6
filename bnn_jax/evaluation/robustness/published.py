"""The published images of CIFAR-10-C and ImageNet-C."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bnn_jax.data import Absent, DatasetInfo, Source, array_source, eval_batches
from bnn_jax.data.image_folder import FolderRecords, folder_records
from bnn_jax.data.images import ImageSource, Records, View
from bnn_jax.evaluation.corruptions import CIFAR10_C, SEVERITIES
from bnn_jax.evaluation.robustness.identity import checksum, labels_of, sample_checksum
from bnn_jax.evaluation.robustness.outcomes import CLEAN, Cell, Outcomes
from bnn_jax.evaluation.robustness.parts import Part, Reading, Tail
from bnn_jax.training import parallel

_CIFAR_URL = "https://zenodo.org/records/2535967"
_IMAGENET_URL = "https://zenodo.org/records/2235448"


@dataclass(frozen=True, eq=False)
class Published:
    """Stored images, the same ones in the same order under every corruption.

    Attributes:
      count: images of each corruption and severity.
      open: finds those of a cell; the clean ones are the run's own test set, which may be `Absent`.
      glimpse: as `open`, without looking which files there are, for reading a few.
      labels: of the images, (count,).
      paired: whether the clean images are known to be the same ones in the same order; None if they are absent.
      names: of the corruptions.
    """

    count: int
    open: Callable[[Cell], Source]
    glimpse: Callable[[Cell], Source]
    labels: np.ndarray
    paired: bool | None
    names: tuple[str, ...]

    def __len__(self) -> int:
        return self.count

    def identity(self) -> dict[str, Any]:
        """A sample of the images of each corruption, at the highest severity; of the clean ones, their order too.

        Raises:
          FileNotFoundError: if one of them is not there.
        """
        try:
            own = {name: sample_checksum(self.glimpse(Cell(name, SEVERITIES[-1]))) for name in self.names}
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error.filename}: expected the same files under every corruption, found no such one. Unpack the set "
                "whole, or use --leave_out"
            ) from error
        if self.paired is not None:
            clean = sample_checksum(self.open(CLEAN))
            own[CLEAN.corruption] = checksum([np.uint32(clean), np.bool_(self.paired)])
        return {"images_crc32": None, "pixels_version": None, "stored": None, "own_crc32": own}

    def parts(self, outcomes: Outcomes, reading: Reading) -> Iterator[Part]:
        """Batches of which the outcomes are not known yet, one corruption after the other."""
        size = reading.batch_size
        for cell in outcomes.cells:
            if cell == CLEAN and self.paired is None:
                continue
            starts = range(0, self.count, size)
            first = next((start for start in starts if not outcomes.known(cell, start, size)), None)
            if first is None:
                continue
            source = self.open(cell)
            if len(source) != self.count:
                raise ValueError(
                    f"{cell.corruption}, severity {cell.severity}: expected {self.count:,} images, as of "
                    f"the first corruption, found {len(source):,}"
                )
            for number, batch in enumerate(eval_batches(Tail(source, first), batch_size=size, **reading.options)):
                yield Part(cell, first + number * size, dict(parallel.split(batch)))


_CIFAR = (10, (32, 32, 3))  # classes and image shape


def cifar10_c(root: Path, names: Sequence[str], info: DatasetInfo, test: Source) -> Published:
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
    if (info.num_classes, info.image_shape) != _CIFAR:
        raise ValueError(
            f"CIFAR-10-C is for networks of CIFAR-10; this run's data is {info.name}, {info.num_classes} "
            f"classes of images {info.image_shape}"
        )
    _check_folder(root)
    missing = [name for name in (*names, "labels") if not (root / f"{name}.npy").is_file()]
    if missing:
        raise FileNotFoundError(
            f"{root}: expected CIFAR-10-C, found no {', '.join(f'{name}.npy' for name in missing)}. "
            f"Get it from {_CIFAR_URL} and give the unpacked folder with --data; or use --leave_out"
        )
    labels = _array(root / "labels.npy")
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or len(labels) % len(SEVERITIES):
        raise ValueError(
            f"{root / 'labels.npy'}: expected as many integer labels for each of 5 severities, (50,000,), found "
            f"{labels.dtype} of shape {labels.shape}"
        )
    count = len(labels) // len(SEVERITIES)
    first, clean = labels[:count].astype(np.int64), labels_of(test)
    if clean is not None and len(clean) != count:
        raise ValueError(
            f"{root / 'labels.npy'}: expected labels of the run's own {len(clean):,} test images for each of 5 "
            f"severities, found {count:,} for each. Get the set whole from {_CIFAR_URL}, if the run's is CIFAR-10's"
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
                f"of shape {images.shape}. Get it from {_CIFAR_URL}"
            )
        return array_source(images[part], labels[part], info.num_classes, str(path))

    return Published(count, find, find, first, None if isinstance(test, Absent) else clean is not None, tuple(names))


def imagenet_c(root: Path, names: Sequence[str], info: DatasetInfo, test: Source) -> Published:
    """ImageNet-C: `root/<corruption>/<severity>/<class>/<image>`, or that below folders as the archives have them.

    Images are shown whole, if they are as large as the network's (224 x 224). The run's own test images may be in
    another order (TFDS has one of its own): `Published.paired` then says so.

    Args, errors as `cifar10_c`.
    """
    side, _, channels = info.image_shape
    is_cifar = (info.num_classes, info.image_shape) == _CIFAR
    if is_cifar or channels != 3:
        raise ValueError(
            f"ImageNet-C is for networks of ImageNet; this run's data is {info.name}, images of shape "
            f"{info.image_shape}{': use cifar10_c' if is_cifar else ''}"
        )
    _check_folder(root)
    places = {name: _find(root, name) for name in names}
    missing = [name for name, place in places.items() if place is None]
    if missing:
        raise FileNotFoundError(
            f"{root}: expected ImageNet-C, folders <corruption>/<severity>/<class>, found no five severities of "
            f"{', '.join(missing)}. Get it from {_IMAGENET_URL} and give the folder with --data; or use --leave_out"
        )

    def find(cell: Cell) -> Source:
        if cell == CLEAN:
            return test
        place = places[cell.corruption]
        assert place is not None
        records = folder_records(place / str(cell.severity))
        if len(records.class_names) != info.num_classes or not _same_classes(records.class_names, info.class_names):
            raise ValueError(
                f"{place / str(cell.severity)}: expected the {info.num_classes} classes of {info.name}, "
                f"found {len(records.class_names)}, which differ from those the run was trained on"
            )
        return ImageSource(records, View(side, side))

    source = find(Cell(names[0], SEVERITIES[0]))
    assert isinstance(source, ImageSource)
    records = source.records
    assert isinstance(records, FolderRecords)
    paired = None if isinstance(test, Absent) else _same_images(records, test)
    labels = labels_of(source)
    assert labels is not None

    def glimpse(cell: Cell) -> Source:
        place = places[cell.corruption]
        assert place is not None
        # Listing 50,000 files of every corruption takes minutes.
        return ImageSource(replace(records, root=place / str(cell.severity)), source.view)

    return Published(len(source), find, glimpse, labels, paired, tuple(names))


def _check_folder(root: Path) -> None:
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: expected the folder of the suite's images, found no folder. Name it with --data"
        )


def _array(path: Path) -> np.ndarray:
    """A stored array, not read yet.

    Raises:
      ValueError: if the file is not a whole `.npy` file.
    """
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: expected a whole .npy file, found one that cannot be read. Get it again") from error
    if not isinstance(found, np.ndarray):
        raise ValueError(f"{path}: expected a .npy file of one array, found an archive of several")
    return found


def present(suite: str, root: Path, name: str) -> bool:
    """Whether a folder holds a corruption of a published set. The extra ones are an archive of their own."""
    return (root / f"{name}.npy").is_file() if suite == CIFAR10_C else _find(root, name) is not None


def _find(root: Path, name: str) -> Path | None:
    candidates = [root / name, *sorted(root.glob(f"*/{name}"))]
    return next((place for place in candidates if all((place / str(s)).is_dir() for s in SEVERITIES)), None)


def _same_images(records: Records, test: Source) -> bool:
    """Whether the run's test images are known to be the same ones in the same order: by their folders and names."""
    names = [
        [Path(name).with_suffix("") for name in found.names] if isinstance(found, FolderRecords) else None
        for found in (records, test.records if isinstance(test, ImageSource) else None)
    ]
    return None not in names and names[0] == names[1]


def _same_classes(found: Sequence[str], expected: Sequence[str]) -> bool:
    """Whether class folders are those of the run; numbers stand for names that are not known."""
    return tuple(found) == tuple(expected) or tuple(expected) == tuple(map(str, range(len(expected))))
