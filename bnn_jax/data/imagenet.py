"""ImageNet (ILSVRC 2012), found in whichever layout is there."""

from __future__ import annotations

import os
from pathlib import Path

from bnn_jax.data.image_folder import class_folders, find_folders, splits_of
from bnn_jax.data.images import ImageSource, View
from bnn_jax.data.normalization import IMAGENET
from bnn_jax.data.outline import Absent, NowhereError, outlined
from bnn_jax.data.places import search_places
from bnn_jax.data.source import DatasetInfo, Source, Splits
from bnn_jax.data.tfds_records import PreparedRecords
from bnn_jax.data.tfds_source import find_prepared, prepare_command

__all__ = ["imagenet"]

_CLASSES, _TRAIN_EXAMPLES, _TEST_EXAMPLES = 1000, 1_281_167, 50_000
_PREPARED = "imagenet2012"
_FOLDERS = ("imagenet", "ImageNet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC", "")


def _splits(train: Source, test: Source, view: View, class_names: tuple[str, ...]) -> Splits:
    shape = (view.size, view.size, 3)
    info = DatasetInfo("imagenet", _CLASSES, shape, IMAGENET.mean, IMAGENET.std, class_names)
    return Splits(train, test, info)


def _outline(directory: str, size: int, resize: int, scale: tuple[float, float], ratio: tuple[float, float]) -> Splits:
    del directory
    view = View(size, resize, scale, ratio)
    return _splits(Absent(_TRAIN_EXAMPLES), Absent(_TEST_EXAMPLES), view, tuple(map(str, range(_CLASSES))))


def _read(place: Path, view: View, passed: list[str]) -> Splits | None:
    """The set in one place, if it is there; folders of other sets are noted in `passed`."""
    prepared = find_prepared(place, _PREPARED)
    if prepared is not None:
        records, test_records = (PreparedRecords(prepared, split) for split in ("train", "validation"))
        return _splits(ImageSource(records, view), ImageSource(test_records, view), view, records.class_names)
    for folder in (place / name for name in _FOLDERS):
        found = find_folders(folder)
        if found is None:
            continue
        classes = len(class_folders(found[0]))
        if classes == _CLASSES:
            return splits_of(*found, view, "imagenet")
        passed.append(f"  {folder.absolute()} was passed over: it has {classes:,} classes, not {_CLASSES:,}")
    return None


@outlined(_outline)
def imagenet(
    directory: str = "",
    size: int = 224,
    resize: int = 256,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Splits:
    """1,281,167 + 50,000 photographs in 1,000 classes (in the order of their WordNet ids), decoded as they are needed.

    Training shows random parts of the images, evaluation their middles: `data.crop_padding` is to be 0. Give
    `run.read_threads` as many threads as the host has cores: decoding is the work here.

    Args:
      directory: where it is: a folder with ``train/<class>/`` and ``val/<class>/``, or one above it, or a TFDS data
        directory with ``imagenet2012/<version>/`` as array_record or tfrecord. If "": ``$BNN_JAX_DATA``,
        ``$TFDS_DATA_DIR``, ``~/tensorflow_datasets``, ``~/data`` and ``./data``, the first that has it.
      size: pixels a side of what the network sees.
      resize: pixels of the shorter side before the middle is cut out, in evaluation.
      scale: least and largest share of an image's area that is shown in training.
      ratio: least and largest width / height of that part.

    Returns:
      Splits of ``uint8 (size, size, 3)`` images.

    Raises:
      FileNotFoundError: if it is nowhere; says where was looked.
      ValueError: if it is damaged, or a number is out of range.
    """
    view = View(size, resize, scale, ratio)
    places = search_places(directory, os.environ)
    passed: list[str] = []
    found = next((splits for splits in (_read(place, view, passed) for place in places) if splits is not None), None)
    if found is None:
        looked = "\n".join([*(f"  {place.absolute()}" for place in places), *passed])
        others = "For photographs in other classes there is image_folder. " if passed else ""
        raise (FileNotFoundError if directory else NowhereError)(
            f"imagenet: expected train/ and val/ with a folder for each of {_CLASSES:,} classes, or "
            f"{_PREPARED}/<version>/, found neither in\n{looked}\n"
            f"{others}Pass directory (or set BNN_JAX_DATA) to where it is. With the archives of image-net.org in "
            f"~/tensorflow_datasets/downloads/manual:\n  {prepare_command(_PREPARED)}"
        )
    return found
