"""ImageNet-C as it is published: a folder of photographs for each corruption and severity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bnn_jax.data import Absent, DatasetInfo, Source
from bnn_jax.data.image_folder import FolderRecords, folder_records
from bnn_jax.data.images import ImageSource, Records, View
from bnn_jax.evaluation.corruptions import SEVERITIES
from bnn_jax.evaluation.robustness.cifar10_c import CIFAR
from bnn_jax.evaluation.robustness.identity import labels_of
from bnn_jax.evaluation.robustness.outcomes import CLEAN, Cell
from bnn_jax.evaluation.robustness.published import Published, leave_out

URL = "https://zenodo.org/records/2235448"


def open_suite(root: Path, names: Sequence[str], info: DatasetInfo, test: Source) -> Published:
    """ImageNet-C: `root/<corruption>/<severity>/<class>/<image>`, or that below folders as the archives have them.

    Images are shown whole, if they are as large as the network's (224 x 224). The run's own test images may be in
    another order (TFDS has one of its own): `Published.paired` then says so.

    Args, errors as `cifar10_c.open_suite`.
    """
    side, _, channels = info.image_shape
    is_cifar = (info.num_classes, info.image_shape) == CIFAR
    if is_cifar or channels != 3:
        raise ValueError(
            f"ImageNet-C is for networks of ImageNet; this run's data is {info.name}, images of shape "
            f"{info.image_shape}{': use cifar10_c' if is_cifar else ''}"
        )
    places = {name: _find(root, name) for name in names}
    missing = [name for name, place in places.items() if place is None]
    if missing:
        absent = ", ".join(folder for name in missing for folder in _absent(root, name))
        raise FileNotFoundError(
            f"{root}: expected ImageNet-C, folders <corruption>/<severity>/<class>, found no {absent}. Get it from "
            f"{URL} and give the folder with --data{leave_out(missing, names)}"
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
    beginning = f"{places[names[0]]}/{SEVERITIES[0]}"
    if not isinstance(test, Absent) and len(test) != len(source):
        raise ValueError(
            f"{beginning}: expected as many images as the run's own test set has, {len(test):,}, found "
            f"{len(source):,}. Unpack the set whole; name the run's own with --data_directory"
        )
    records = source.records
    assert isinstance(records, FolderRecords)
    paired = None if isinstance(test, Absent) else _same_images(records, test)
    labels = labels_of(source)
    assert labels is not None

    def whole(cell: Cell) -> Source:
        found = find(cell)
        if len(found) != len(source):
            raise ValueError(
                f"{places[cell.corruption]}/{cell.severity}: expected as many images as in {beginning}, "
                f"{len(source):,}, found {len(found):,}. One of the two is not whole: unpack it again, or use "
                "--leave_out"
            )
        return found

    def glimpse(cell: Cell) -> Source:
        place = places[cell.corruption]
        assert place is not None
        # Listing 50,000 files of every corruption takes minutes.
        return ImageSource(replace(records, root=place / str(cell.severity)), source.view)

    return Published(len(source), whole, glimpse, labels, paired, tuple(names))


def present(root: Path, name: str) -> bool:
    """Whether a folder holds a corruption. The extra ones are an archive of their own."""
    return _find(root, name) is not None


def _places(root: Path, name: str) -> list[Path]:
    return [place for place in (root / name, *sorted(root.glob(f"*/{name}"))) if place.is_dir()]


def _find(root: Path, name: str) -> Path | None:
    whole = (place for place in _places(root, name) if all((place / str(s)).is_dir() for s in SEVERITIES))
    return next(whole, None)


def _absent(root: Path, name: str) -> list[str]:
    """Which folders of a corruption that is not whole are not there."""
    for place in _places(root, name):
        return [str((place / str(s)).relative_to(root)) for s in SEVERITIES if not (place / str(s)).is_dir()]
    return [name]


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
