"""Reads a state_dict, as PyTorch saves it or as an archive of NumPy's."""

import zipfile
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]


def read(path: Path) -> Arrays:
    """The arrays of a state_dict by name.

    Args:
      path: `.npz`, an array for each name; anything else is a file of `torch.save`, which needs PyTorch to be read.

    Returns:
      Arrays as stored; of a file of PyTorch, floating ones as float32.

    Raises:
      ModuleNotFoundError: If PyTorch is needed, and is not installed.
      OSError: If there is no such file.
      ValueError: If it is something else; says what was found.
    """
    return _read_npz(path) if path.suffix == ".npz" else _read_torch(path)


def _read_npz(path: Path) -> Arrays:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        # NumPy's own words advise to load it unsafely.
        raise ValueError(
            f"{path}: expected an archive of NumPy's (.npz), found another file or a damaged one"
        ) from error


def _read_torch(path: Path) -> Arrays:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a state_dict, found no such file")
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path} needs PyTorch to be read: pip install -e '.[convert]'\n"
            "Or make an .npz of it where PyTorch is installed, and convert that:\n"
            "  import numpy, torch\n"
            f"  state = torch.load({path.name!r}, map_location='cpu', weights_only=True)\n"
            "  arrays = {name: value.numpy(force=True) for name, value in state.items()}\n"
            f"  numpy.savez({path.stem + '_state.npz'!r}, **arrays)"
        ) from error
    with path.open("rb") as file:
        try:
            # A pickle may run any code as it is read; `weights_only` allows tensors and plain containers alone.
            found = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever an unpickler stumbles over in what is no pickle
            raise ValueError(
                f"{path}: expected a state_dict as torch.save writes it, found another file, a damaged one, or Python "
                "objects, which are not read, for they may run code: save the state_dict of the network alone"
            ) from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a state_dict, a tensor for each name, found a {type(found).__name__}")
    others = [str(name) for name, value in found.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise ValueError(
            f"{path}: expected a state_dict, a tensor for each name, found no tensors as {', '.join(others[:8])}: "
            "save the state_dict of the network alone"
        )
    # NumPy has no bfloat16.
    return {name: (v.float() if v.is_floating_point() else v).numpy(force=True) for name, v in found.items()}
