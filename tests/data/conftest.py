"""Writes TFDS-prepared folders in their genuine layout, without TensorFlow."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def scalar_masked_crc(data: bytes) -> int:
    """CRC-32C bit by bit, from its definition, then TFRecord's mask."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def write_tfrecord(path: Path, records: Sequence[bytes]) -> None:
    with path.open("wb") as file:
        for record in records:
            length = struct.pack("<Q", len(record))
            file.write(length + struct.pack("<I", scalar_masked_crc(length)))
            file.write(record + struct.pack("<I", scalar_masked_crc(record)))


def write_array_record(path: Path, records: Sequence[bytes]) -> None:
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()


_WRITERS = {"tfrecord": write_tfrecord, "array_record": write_array_record}


def example(image: np.ndarray, label: int, identity: str) -> bytes:
    """A serialized tf.train.Example as TFDS writes it."""
    from tensorflow_datasets.proto import tf_example_pb2

    encoded = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(encoded, "PNG")
    message = tf_example_pb2.Example()
    message.features.feature["id"].bytes_list.value.append(identity.encode())
    message.features.feature["image"].bytes_list.value.append(encoded.getvalue())
    message.features.feature["label"].int64_list.value.append(int(label))
    return message.SerializeToString()


def prepare(
    root: Path,
    name: str,
    file_format: str,
    splits: dict[str, list[list[bytes]]],
    class_names: Sequence[str],
    shape: tuple[int | None, int | None, int] = (32, 32, 3),
    version: str = "3.0.2",
) -> Path:
    """Writes ``root/name/version`` from ``{split: shards of serialized examples}``."""
    import tensorflow_datasets as tfds

    folder = root / name / version
    folder.mkdir(parents=True)
    features = tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=shape),
            "label": tfds.features.ClassLabel(names=list(class_names)),
        }
    )
    identity = tfds.core.DatasetIdentity(name=name, version=version, data_dir=str(folder), module_name="test")
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    info.set_file_format(file_format)
    infos = []
    for split, shards in splits.items():
        for number, records in enumerate(shards):
            path = folder / f"{name}-{split}.{file_format}-{number:05d}-of-{len(shards):05d}"
            _WRITERS[file_format](path, records)
        infos.append(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[len(records) for records in shards],
                num_bytes=sum(len(record) for records in shards for record in records),
            )
        )
    info.set_splits(tfds.core.splits.SplitDict(infos))
    info.write_to_directory(str(folder))
    return folder


@pytest.fixture(scope="session")
def make_example() -> Callable[..., bytes]:
    return example


@pytest.fixture(scope="session")
def prepare_tfds() -> Callable[..., Path]:
    return prepare


@pytest.fixture(scope="session")
def tfrecord_writer() -> Callable[[Path, Sequence[bytes]], None]:
    return write_tfrecord


@pytest.fixture(scope="session")
def reference_masked_crc() -> Callable[[bytes], int]:
    return scalar_masked_crc


@pytest.fixture
def thousand(tmp_path):
    """ImageNet's form: 1,000 classes, each with one image of two pixels."""
    image = tmp_path / "one.png"
    Image.new("RGB", (2, 1)).save(image)
    for split in ("train", "val"):
        for i in range(1000):
            folder = tmp_path / "imagenet" / split / f"n{i:08d}"
            folder.mkdir(parents=True)
            (folder / "x.png").hardlink_to(image)
    return tmp_path
