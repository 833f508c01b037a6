"""Config files."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bnn_jax.config.overrides import check


def load(path: str | Path) -> Any:
    """What `get_config()` of the file returns.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it defines no `get_config`.
    """
    path = Path(path)
    if not path.is_file():
        folder = path if path.is_dir() else path.parent
        near = sorted(str(p) for p in folder.glob("*.py") if not p.name.startswith("_"))
        raise FileNotFoundError(f"there is no config file {path}" + (f"; there are: {', '.join(near)}" if near else ""))
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise ValueError(f"{path} defines no get_config(): a config file needs one, see configs/")
    return module.get_config()


def check_command_line(arguments: Sequence[str]) -> None:
    """Checks `--config FILE` and every `--config.field value` of a command line.

    Raises:
      FileNotFoundError: If the file is missing.
      ValueError: If an override names no field or has a value of another type.
    """
    path = ""
    for i, argument in enumerate(arguments):
        name, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name == "config":
            path = value if equals else [*arguments, ""][i + 1]
    if path:
        check(load(path), arguments)
