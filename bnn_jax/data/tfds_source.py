"""Image sets that TensorFlow Datasets has prepared, read without TensorFlow and kept in memory."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bnn_jax.data.in_memory import from_arrays
from bnn_jax.data.normalization import IMAGENET, channel_stats, choose
from bnn_jax.data.source import Splits, array_source
from bnn_jax.data.tfrecord import read_records

__all__ = ["PreparedSplit", "find_prepared", "prepare_command", "read_split", "tfds_images"]

_INFO_FILE = "dataset_info.json"


class PreparedSplit(NamedTuple):
    """One split in memory.

    Attributes:
      images: ``uint8 (N, H, W, C)``.
      labels: ``int32 (N,)``.
      class_names: one per class.
      ids: the feature "id" of every example, empty if the set has none.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int32]
    class_names: tuple[str, ...]
    ids: tuple[bytes, ...]


def prepare_command(name: str, file_format: str = "array_record", directory: str = "") -> str:
    """The shell command that prepares a set; it needs TensorFlow, once."""
    where = f", data_dir={directory!r}" if directory else ""
    return (
        "pip install -e '.[prepare]' && "
        'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', file_format='{file_format}'{where}).download_and_prepare()\""
    )


def find_prepared(root: Path, name: str) -> Path | None:
    """Finds the newest prepared version of a set.

    Args:
      root: a TFDS data directory, or the set's own folder in it, or one version's folder.
      name: the set's name, such as "cifar10" or "imagenet_resized/32x32".

    Returns:
      The folder that holds ``dataset_info.json``, or None.
    """
    root = root.absolute()
    parts = Path(name).parts
    if root.parent.parts[-len(parts) :] == parts and (root / _INFO_FILE).is_file():
        return root
    for folder in [root, root / name] if root.parts[-len(parts) :] == parts else [root / name]:
        versions = [path.parent for path in folder.glob(f"*/{_INFO_FILE}")]
        versions = [path for path in versions if re.fullmatch(r"\d+\.\d+\.\d+", path.name)]
        if versions:
            return max(versions, key=lambda path: tuple(map(int, path.name.split("."))))
    return None


def _read_array_record(path: Path) -> list[bytes]:
    from array_record.python.array_record_module import ArrayRecordReader

    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected an ArrayRecord file, found none. Prepare the set again.")
    try:
        reader = ArrayRecordReader(os.fspath(path))
        records: list[bytes] = reader.read_all() if reader.num_records() else []
        reader.close()
    except (RuntimeError, ValueError, IndexError) as error:
        raise ValueError(
            f"{path}: expected an intact ArrayRecord file, found a damaged one ({error}). "
            "Copy or prepare the file again."
        ) from error
    return records


_READERS = {"tfrecord": read_records, "array_record": _read_array_record}


def check_split(builder: Any, folder: Path, split: str) -> str:
    """The file format of a prepared set that is one of labelled images and has this split.

    Args:
      builder: TFDS's builder of the set.
      folder: where it was found; for error messages.
      split: a split or a slice of one, such as ``train[:80%]``.

    Raises:
      ValueError: if it is another kind of set, or has no such split, or has another file format.
    """
    import tensorflow_datasets as tfds

    features = builder.info.features
    for key, kind in (("image", tfds.features.Image), ("label", tfds.features.ClassLabel)):
        if key not in features or not isinstance(features[key], kind):
            raise ValueError(
                f"{folder}: expected a feature {key!r} of type {kind.__name__}, found {dict(features)}. "
                "Read this set yourself and pass it through from_arrays."
            )
    base = re.split(r"[\[+]", split)[0]
    if base not in builder.info.splits:
        raise ValueError(
            f"{folder}: expected a split among {sorted(builder.info.splits)}, found {split!r}. "
            "Name one of these; a slice is written train[:80%]."
        )
    file_format: str = builder.info.file_format.value
    if file_format not in _READERS:
        raise ValueError(
            f"{folder}: expected file format {' or '.join(_READERS)}, found {file_format}. Prepare the set "
            f"again: {prepare_command(builder.name)}"
        )
    return file_format


def _serialized(builder: Any, folder: Path, split: str) -> list[bytes]:
    """The raw examples of a split."""
    file_format = check_split(builder, folder, split)
    records: list[bytes] = []
    for part in builder.info.splits[split].file_instructions:
        shard = _READERS[file_format](Path(part.filename))
        if len(shard) != part.examples_in_shard:
            raise ValueError(
                f"{part.filename}: expected {part.examples_in_shard} examples, as {_INFO_FILE} says, found "
                f"{len(shard)}: the file is cut short or of another version. Copy or prepare it again."
            )
        stop = None if part.take == -1 else part.skip + part.take
        records.extend(shard[part.skip : stop])
    return records


def _decode(encoded: bytes, shape: Sequence[int | None], where: str) -> npt.NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(encoded)) as image:
            pixels = np.asarray(image.convert("L" if shape[-1] == 1 else "RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(
            f"{where}: expected an encoded image, found one that Pillow cannot read ({error}). "
            "Copy or prepare the set again."
        ) from error
    return pixels[..., None] if shape[-1] == 1 else pixels


def read_split(folder: Path, split: str) -> PreparedSplit:
    """Reads and decodes one split, checking every checksum and count that the format has.

    Args:
      folder: a version's folder, as :func:`find_prepared` returns it.
      split: a split or a slice of one, as TFDS writes it.

    Returns:
      The split, in the order of the files.

    Raises:
      FileNotFoundError: if a file is missing.
      ValueError: if a file is damaged, or the set is not one of equally large images with one label each.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.proto import tf_example_pb2

    builder = tfds.builder_from_directory(os.fspath(folder))
    records = _serialized(builder, folder, split)
    features = builder.info.features
    shape = features["image"].shape
    images: list[npt.NDArray[np.uint8]] = []
    labels: list[int] = []
    ids: list[bytes] = []
    # The generic TFDS decoder costs twice as much per small image as Pillow does.
    for index, record in enumerate(records):
        where = f"{folder}, split {split}, example {index}"
        feature = tf_example_pb2.Example.FromString(record).features.feature
        image = _decode(feature["image"].bytes_list.value[0], shape, where)
        if images and image.shape != images[0].shape:
            raise ValueError(
                f"{where}: expected an image of shape {images[0].shape} like the first, found {image.shape}. "
                "Sets kept in memory need images of one size: use a resized variant of the set."
            )
        images.append(image)
        labels.append(feature["label"].int64_list.value[0])
        ids.extend(feature["id"].bytes_list.value if "id" in features else ())
    if not images:
        raise ValueError(f"{folder}: expected examples in split {split!r}, found none. Choose a larger slice.")
    names = tuple(features["label"].names)
    source = array_source(np.stack(images), np.asarray(labels), len(names), f"{folder}, split {split}")
    return PreparedSplit(source.images, source.labels, names, tuple(ids))


def tfds_images(
    name: str,
    directory: str,
    train_split: str = "train",
    test_split: str = "test",
    normalization: str = "train",
) -> Splits:
    """Any TFDS set of small, equally large images with one label each, whole in memory.

    Decoding takes about 0.1 ms per image of CIFAR's size.

    Args:
      name: the set's name, such as "mnist" or "cifar100".
      directory: the TFDS data directory that it was prepared in, as array_record or as tfrecord.
      train_split: split or slice to train on.
      test_split: split or slice to test on.
      normalization: "train" measures mean and std on the training images, "imagenet" uses ImageNet's.

    Returns:
      The splits.

    Raises:
      FileNotFoundError: if the set is not there.
      ValueError: if it is damaged or of another kind, or an argument is wrong.
    """
    root = Path(directory).expanduser()
    folder = find_prepared(root, name)
    if folder is None:
        raise FileNotFoundError(
            f"{root}: expected the prepared set {name!r} in {root / name}/<version>/, found no {_INFO_FILE} "
            f"there. Prepare it with\n  {prepare_command(name, directory=os.fspath(root))}"
        )
    # A wrong option must not cost the time of decoding.
    choose(normalization, {"train": IMAGENET, "imagenet": IMAGENET}, name)
    train, test = read_split(folder, train_split), read_split(folder, test_split)
    stats = choose(normalization, {"train": channel_stats(train.images), "imagenet": IMAGENET}, name)
    return from_arrays(
        train.images,
        train.labels,
        test.images,
        test.labels,
        len(train.class_names),
        mean=stats.mean,
        std=stats.std,
        name=name,
        class_names=train.class_names,
    )
