import dataclasses

import numpy as np
import pytest

from bnn_jax.data import DatasetInfo, array_source


def _arrays(n=6):
    return np.zeros((n, 4, 5, 3), np.uint8), np.arange(n) % 3


def test_items_and_gather_agree():
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
    source = array_source(images, np.arange(6) % 3, 3)
    batch = source.gather([4, 0, 4])
    assert len(source) == 6
    assert batch["image"].dtype == np.uint8
    assert batch["label"].dtype == np.int32
    for row, index in enumerate([4, 0, 4]):
        np.testing.assert_array_equal(batch["image"][row], source[index]["image"])
        assert batch["label"][row] == source[index]["label"] == index % 3


def test_gather_copies_so_that_a_batch_may_be_changed():
    source = array_source(*_arrays(), 3)
    source.gather([0])["image"][:] = 7
    assert not source.images.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, y: (i.astype(np.float32), y), r"split x: expected images of dtype uint8.*float32"),
        (lambda i, y: (i[..., 0], y), r"expected images of shape \(N, H, W, C\), found \(6, 4, 5\).*None"),
        (lambda i, y: (i.transpose(0, 3, 1, 2), y), r"expected channels last.*found \(6, 3, 4, 5\)"),
        (lambda i, y: (i, y.astype(float)), r"expected integer labels, found float64"),
        (lambda i, y: (i, y[:5]), r"expected one label per image, shape \(6,\), found \(5,\)"),
        (lambda i, y: (i, np.eye(3, dtype=int)[y]), r"expected one label per image.*found \(6, 3\)"),
        (lambda i, y: (i[:0], y[:0]), r"expected at least one pixel, found images of shape \(0, 4, 5, 3\)"),
        (lambda i, y: (i, y + (y == 2)), r"labels in \[0, 3\), found 3 at index 2 \(2 in all\)"),
        (lambda i, y: (i, y - 1), r"labels in \[0, 3\), found -1 at index 0"),
    ],
)
def test_wrong_arrays_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        array_source(*change(*_arrays()), 3, "split x")


def test_info_refuses_fields_that_disagree():
    info = DatasetInfo("toy", 2, (4, 4, 3), (0.5,) * 3, (0.2,) * 3, ("a", "b"))
    with pytest.raises(ValueError, match=r"toy: expected mean with one value for each of the 3 channels"):
        dataclasses.replace(info, mean=(0.5,))
    with pytest.raises(ValueError, match=r"toy: expected every std above 0"):
        dataclasses.replace(info, std=(0.2, 0.0, 0.2))
    with pytest.raises(ValueError, match=r"toy: expected 2 class names, found 1"):
        dataclasses.replace(info, class_names=("a",))
