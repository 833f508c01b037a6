"""Files of named arrays: NumPy's, and PyTorch's by way of a stand-in, for PyTorch is not needed to develop this."""

import importlib.util
import pickle
import struct
import sys
import types

import numpy as np
import pytest

from bnn_jax.convert import state_dict


class Tensor:
    """A stand-in for PyTorch's: `half` if NumPy has no such type."""

    def __init__(self, value, half=False):
        self.value, self.half = np.asarray(value), half

    def is_floating_point(self):
        return self.value.dtype.kind == "f"

    def float(self):
        return Tensor(self.value.astype(np.float32))

    def numpy(self, *, force):
        assert force
        assert not self.half
        return self.value


@pytest.fixture
def stored(monkeypatch):
    """A dict of what `torch.load` of a stand-in finds in files of a certain content; exceptions are raised."""
    contents = {}

    def load(file, *, map_location, weights_only):
        assert (map_location, weights_only) == ("cpu", True)
        found = contents[file.read()]
        if isinstance(found, Exception):
            raise found
        return found

    stand_in = types.ModuleType("torch")
    stand_in.load, stand_in.Tensor = load, Tensor
    stand_in.__spec__ = importlib.util.spec_from_loader("torch", None)
    monkeypatch.setitem(sys.modules, "torch", stand_in)
    return contents


def test_an_archive_of_numpys_is_read_without_pytorch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    arrays = {"layer1.0.conv1.weight": np.arange(4.0), "bn1.num_batches_tracked": np.asarray(3)}
    np.savez(tmp_path / "x.npz", **arrays)
    found = state_dict.read(tmp_path / "x.npz")
    assert found.keys() == arrays.keys()
    for name, value in arrays.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short", pickle.dumps({"a": 1})])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npz: expected an archive of NumPy's"):
        state_dict.read(tmp_path / "x.npz")


def test_a_single_array_is_refused(tmp_path):
    with (tmp_path / "x.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match=r"x\.npz: expected an archive of NumPy's"):
        state_dict.read(tmp_path / "x.npz")


def test_objects_are_refused_unread(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array([print], object))
    with pytest.raises(ValueError, match=r"x\.npz: expected an archive of NumPy's"):
        state_dict.read(tmp_path / "x.npz")


def test_a_file_of_pytorchs_is_read(tmp_path, stored):
    (tmp_path / "x.pth").write_bytes(b"it")
    stored[b"it"] = {"conv1.weight": Tensor([1.5, 2.5], half=True), "bn1.num_batches_tracked": Tensor(3)}
    found = state_dict.read(tmp_path / "x.pth")
    np.testing.assert_array_equal(found["conv1.weight"], np.float32([1.5, 2.5]))
    assert found["conv1.weight"].dtype == np.float32
    assert found["bn1.num_batches_tracked"] == 3


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (pickle.UnpicklingError("Weights only load failed"), "Python objects, which are not read"),
        (RuntimeError("failed finding central directory"), "a damaged one"),
        (struct.error("unpack requires a buffer of 4 bytes"), "found another file"),
        ([1, 2], "expected a state_dict, a tensor for each name, found a list"),
        ({"state_dict": {}, "epoch": 3}, r"found no tensors as state_dict, epoch: save the state_dict of the network"),
    ],
)
def test_another_file_of_pytorchs_is_refused(tmp_path, stored, found, message):
    (tmp_path / "x.pth").write_bytes(b"it")
    stored[b"it"] = found
    with pytest.raises(ValueError, match=message):
        state_dict.read(tmp_path / "x.pth")


def test_no_file_is_said_to_be_none(tmp_path, stored):
    with pytest.raises(FileNotFoundError, match=r"x\.pth"):
        state_dict.read(tmp_path / "x.pth")


def test_without_pytorch_the_way_around_is_said(tmp_path, monkeypatch):
    (tmp_path / "x.pth").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install -e '\.\[convert\]'") as caught:
        state_dict.read(tmp_path / "x.pth")
    assert "numpy.savez('x_state.npz', **arrays)" in str(caught.value)


def test_a_file_that_is_not_there_is_said_so_whatever_is_installed(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"x\.pth: expected a state_dict, found no such file"):
        state_dict.read(tmp_path / "x.pth")
