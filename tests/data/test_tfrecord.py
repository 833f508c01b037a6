import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn_jax.data.crc32c import crc32c, masked_crc32c
from bnn_jax.data.tfrecord import index_records, read_records

RECORDS = [b"first record", b"", b"ab", bytes(range(100))]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"a", 0xC1D04330),
        (b"", 0),
    ],
)
def test_published_checksums(data, expected):
    assert crc32c([data]).tolist() == [expected]


@settings(deadline=None)
@given(records=st.lists(st.binary(max_size=70), max_size=8))
def test_checksums_equal_the_definition(records, reference_masked_crc):
    assert masked_crc32c(records).tolist() == [reference_masked_crc(record) for record in records]


@pytest.fixture
def path(tmp_path, tfrecord_writer):
    tfrecord_writer(tmp_path / "x.tfrecord", RECORDS)
    return tmp_path / "x.tfrecord"


def test_round_trip_and_random_access(path):
    assert read_records(path) == RECORDS
    index = index_records(path)
    data = path.read_bytes()
    assert [data[o : o + n] for o, n in zip(index.offsets, index.lengths, strict=True)] == RECORDS


def test_empty_file_has_no_records(tmp_path):
    (tmp_path / "empty").touch()
    assert read_records(tmp_path / "empty") == []
    assert index_records(tmp_path / "empty").offsets.shape == (0,)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none: expected a TFRecord file, found none"):
        read_records(tmp_path / "none")


def test_every_cut_is_noticed(path):
    data = path.read_bytes()
    ends = {0, *np.cumsum([16 + len(record) for record in RECORDS]).tolist()}
    for size in range(len(data)):
        path.write_bytes(data[:size])
        if size in ends:
            assert read_records(path) == RECORDS[: len(read_records(path))]
        else:
            with pytest.raises(ValueError, match=rf"end of the file at byte {size:,}: the file is cut short"):
                index_records(path)


def test_every_changed_byte_is_noticed(path):
    data = bytearray(path.read_bytes())
    for place in range(len(data)):
        data[place] ^= 0x41
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"x\.tfrecord: expected record \d .*damaged"):
            read_records(path)
        data[place] ^= 0x41


def test_corrupt_length_is_not_reported_as_a_cut(path):
    data = bytearray(path.read_bytes())
    data[:8] = struct.pack("<Q", 2**50)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"expected record 0 at byte 0 to begin with a length and its checksum"):
        read_records(path)
