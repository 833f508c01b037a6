"""CIFAR-10, found in whichever layout is there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from bnn_jax.data.archive import FOLDER, Arrays, is_archive, read_archive
from bnn_jax.data.in_memory import from_arrays
from bnn_jax.data.normalization import CIFAR10, IMAGENET, choose
from bnn_jax.data.order import stratified
from bnn_jax.data.outline import Absent, NowhereError, outlined
from bnn_jax.data.places import search_places
from bnn_jax.data.source import DatasetInfo, Splits
from bnn_jax.data.tfds_source import find_prepared, prepare_command, read_split

__all__ = ["CLASS_NAMES", "cifar10"]

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_NORMALIZATIONS = {"imagenet": IMAGENET, "cifar10": CIFAR10}
_TRAIN_EXAMPLES, _TEST_EXAMPLES = 50_000, 10_000
_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"


def _not_found(places: list[Path], directory: str) -> FileNotFoundError:
    looked = "\n".join(f"  {place.absolute()}" for place in places)
    python_version = [place / "cifar-10-batches-py" for place in places]
    note = "".join(
        f"\n{path} is the Python version of the archive; the binary version is needed."
        for path in python_version
        if path.is_dir()
    )
    kind = FileNotFoundError if directory else NowhereError
    return kind(
        f"cifar10: expected {FOLDER}/ or cifar10/<version>/dataset_info.json, found neither in\n"
        f"{looked}{note}\n"
        "Get it in one of three ways, or pass directory (or set BNN_JAX_DATA) to where it is:\n"
        f"  mkdir -p ~/data && curl -L {_URL} | tar xz -C ~/data\n"
        f"  {prepare_command('cifar10', 'array_record')}\n"
        f"  {prepare_command('cifar10', 'tfrecord')}"
    )


def _read_prepared(folder: Path, split: str) -> Arrays:
    images, labels, names, ids = read_split(folder, split)
    if names != CLASS_NAMES:
        raise ValueError(
            f"{folder}: expected the classes {CLASS_NAMES}, found {names}. This is not CIFAR-10: remove it, "
            f"or read it with tfds_images."
        )
    # TFDS shuffles as it writes; ids number the original order, so that all layouts give the same runs.
    order = np.argsort(np.asarray(ids)) if len(ids) == len(images) else np.arange(len(images))
    return images[order], labels[order]


def _read(place: Path) -> tuple[Arrays, Arrays] | None:
    for folder in (place, place / FOLDER, place / "cifar10" / FOLDER):
        if is_archive(folder):
            return read_archive(folder)
    prepared = find_prepared(place, "cifar10")
    if prepared is None:
        return None
    return _read_prepared(prepared, "train"), _read_prepared(prepared, "test")


def _outline(directory: str, train_size: int, normalization: str) -> Splits:
    del directory
    stats, classes = choose(normalization, _NORMALIZATIONS, "cifar10"), len(CLASS_NAMES)
    info = DatasetInfo("cifar10", classes, (32, 32, 3), stats.mean, stats.std, CLASS_NAMES)
    return Splits(Absent(train_size or _TRAIN_EXAMPLES), Absent(_TEST_EXAMPLES), info)


@outlined(_outline)
def cifar10(directory: str = "", train_size: int = 0, normalization: str = "imagenet") -> Splits:
    """50,000 + 10,000 colour images of 32x32 in 10 classes, in memory (184 MB), in the archive's order.

    Args:
      directory: where it is: the folder ``cifar-10-batches-bin`` or one above it, or a TFDS data directory
        with ``cifar10/<version>/`` as array_record or tfrecord. If "": ``$BNN_JAX_DATA``,
        ``$TFDS_DATA_DIR``, ``~/tensorflow_datasets``, ``~/data`` and ``./data``, the first that has it.
      train_size: 0 for all training images; otherwise that many, the same number of every class, always the
        same ones (larger sizes contain smaller ones).
      normalization: "imagenet" for ImageNet's mean and std, "cifar10" for CIFAR-10's own.

    Returns:
      Splits of ``uint8 (N, 32, 32, 3)`` images.

    Raises:
      FileNotFoundError: if it is nowhere; says where was looked and how to get it.
      ValueError: if an argument is wrong or a file is damaged.
    """
    stats = choose(normalization, _NORMALIZATIONS, "cifar10")
    classes = len(CLASS_NAMES)
    if not 0 <= train_size <= _TRAIN_EXAMPLES or train_size % classes:
        raise ValueError(
            f"cifar10: expected train_size to be 0 (all) or a multiple of {classes} up to "
            f"{_TRAIN_EXAMPLES:,}, found {train_size}. Every class keeps train_size / {classes} images."
        )
    places = search_places(directory, os.environ)
    found = next((arrays for arrays in map(_read, places) if arrays is not None), None)
    if found is None:
        raise _not_found(places, directory)
    (train_images, train_labels), (test_images, test_labels) = found
    if (len(train_labels), len(test_labels)) != (_TRAIN_EXAMPLES, _TEST_EXAMPLES):
        raise ValueError(
            f"cifar10: expected {_TRAIN_EXAMPLES:,} + {_TEST_EXAMPLES:,} examples, found "
            f"{len(train_labels):,} + {len(test_labels):,}. Get the set again: {prepare_command('cifar10')}"
        )
    if train_size:
        kept = stratified(train_labels, np.full(classes, train_size // classes), seed=0)
        train_images, train_labels = train_images[kept], train_labels[kept]
    return from_arrays(
        train_images,
        train_labels,
        test_images,
        test_labels,
        classes,
        mean=stats.mean,
        std=stats.std,
        name="cifar10",
        class_names=CLASS_NAMES,
    )
