"""Images in one folder per class, as most sets of photographs come."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bnn_jax.data.images import ImageSource, Record, View
from bnn_jax.data.normalization import IMAGENET
from bnn_jax.data.source import DatasetInfo, Splits

__all__ = ["FolderRecords", "class_folders", "find_folders", "folder_records", "image_folder", "splits_of"]

_SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
_TRAIN, _TEST = "train", ("val", "validation", "test")


@dataclass(frozen=True, eq=False)
class FolderRecords:
    """Images as files, in the order of their classes and names.

    Attributes:
      root: folder of the split.
      names: path of each file in it.
      labels: of each file.
      class_names: names of the classes' folders, sorted.
    """

    root: Path
    names: tuple[str, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Record:
        path = self.root / self.names[index]
        return Record(path.read_bytes(), self.labels[index], str(path))


def class_folders(root: Path) -> list[str]:
    """Names of the folders in a folder, sorted; without hidden ones."""
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))


def folder_records(root: Path) -> FolderRecords:
    """Lists ``root/<class>/**/<image>``.

    Raises:
      FileNotFoundError: if ``root`` is not a folder.
      ValueError: if it holds no folder, or a class has no image.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: expected a folder with one folder of images per class, found none")
    classes = class_folders(root)
    if not classes:
        raise ValueError(
            f"{root}: expected one folder of images per class, found none. Images that lie side by side must be "
            "sorted into a folder of their class each."
        )
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(_images(root / name))
        if not found:
            raise ValueError(f"{root / name}: expected images ({', '.join(_SUFFIXES)}), found none.")
        names += [f"{name}/{path}" for path in found]
        labels += [label] * len(found)
    return FolderRecords(root, tuple(names), tuple(labels), tuple(classes))


def _images(folder: Path) -> list[str]:
    found = []
    for where, folders, files in os.walk(folder, followlinks=True):
        # Hidden ones are of editors and file systems.
        folders[:] = [name for name in folders if not name.startswith(".")]
        names = [name for name in files if name.lower().endswith(_SUFFIXES) and not name.startswith(".")]
        found += [os.path.normpath(os.path.join(os.path.relpath(where, folder), name)) for name in names]
    return found


def find_folders(root: Path) -> tuple[Path, Path] | None:
    """``root/train`` and ``root/val`` (or ``validation``, or ``test``), if both are there."""
    test = next((root / name for name in _TEST if (root / name).is_dir()), None)
    return (root / _TRAIN, test) if test is not None and (root / _TRAIN).is_dir() else None


def splits_of(train: Path, test: Path, view: View, name: str) -> Splits:
    """Training and test images of two folders.

    Raises:
      ValueError: if their classes differ, or as `folder_records`.
    """
    records, test_records = folder_records(train), folder_records(test)
    if records.class_names != test_records.class_names:
        odd = sorted(set(records.class_names) ^ set(test_records.class_names))
        raise ValueError(
            f"{test}: expected the {len(records.class_names)} classes of {train}, found "
            f"{len(test_records.class_names)}. Only one of the two has {', '.join(odd[:5])}."
        )
    info = DatasetInfo(
        name=name,
        num_classes=len(records.class_names),
        image_shape=(view.size, view.size, 3),
        mean=IMAGENET.mean,
        std=IMAGENET.std,
        class_names=records.class_names,
    )
    return Splits(ImageSource(records, view), ImageSource(test_records, view), info)


def image_folder(
    directory: str = "",
    size: int = 224,
    resize: int = 256,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Splits:
    """Any set of RGB images in ``train/<class>/`` and ``val/<class>/``, decoded as they are needed.

    Training shows random parts of the images, evaluation their middles, both normalized with ImageNet's mean and std:
    `data.crop_padding` is to be 0. Give `run.read_threads` as many threads as the host has cores: decoding is the work
    here.

    Args:
      directory: folder that holds ``train`` and ``val`` (or ``validation``, or ``test``).
      size: pixels a side of what the network sees.
      resize: pixels of the shorter side before the middle is cut out, in evaluation.
      scale: least and largest share of an image's area that is shown in training.
      ratio: least and largest width / height of that part.

    Returns:
      Splits of ``uint8 (size, size, 3)`` images.

    Raises:
      FileNotFoundError: if the two folders are not there.
      ValueError: if they hold other classes, or none, or a number is out of range.
    """
    if not directory:
        raise ValueError("image_folder: expected the folder of train/ and val/, found none: give directory")
    view, root = View(size, resize, scale, ratio), Path(directory).expanduser()
    found = find_folders(root)
    if found is None:
        raise FileNotFoundError(f"{root}: expected the folders train/ and val/, with one folder per class in each")
    return splits_of(*found, view, root.resolve().name)
