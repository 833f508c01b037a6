import numpy as np
import pytest

from bnn_jax.data.archive import read_archive, read_batch


def _write(path, images, labels):
    planar = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    path.write_bytes(np.concatenate([labels[:, None].astype(np.uint8), planar], axis=1).tobytes())


def _arrays(n=7):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, n)


def test_round_trip(tmp_path):
    images, labels = _arrays()
    _write(tmp_path / "b.bin", images, labels)
    found_images, found_labels = read_batch(tmp_path / "b.bin", records=7)
    np.testing.assert_array_equal(found_images, images)
    np.testing.assert_array_equal(found_labels, labels)
    assert found_images.flags.c_contiguous
    assert found_labels.dtype == np.int32


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data_batch_1\.bin: expected a CIFAR-10 binary.*Unpack"):
        read_archive(tmp_path)


@pytest.mark.parametrize(("change", "what"), [(-1, "cut short"), (1, "too long")])
def test_wrong_size(tmp_path, change, what):
    path = tmp_path / "b.bin"
    path.write_bytes(bytes(2 * 3073 + change))
    with pytest.raises(ValueError, match=rf"b\.bin: expected 6,146 bytes.*found {6146 + change:,}.*{what}"):
        read_batch(path, records=2)


def test_usual_size_is_ten_thousand_records(tmp_path):
    path = tmp_path / "b.bin"
    path.write_bytes(bytes(3073))
    with pytest.raises(ValueError, match=r"expected 30,730,000 bytes"):
        read_batch(path)


def test_label_out_of_range(tmp_path):
    images, labels = _arrays()
    labels[4] = 11
    _write(tmp_path / "b.bin", images, labels)
    with pytest.raises(ValueError, match=r"b\.bin: expected label bytes below 10, found 11 in record 4"):
        read_batch(tmp_path / "b.bin", records=7)
