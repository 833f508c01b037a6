"""Command-line overrides checked before anything runs, with errors that say what would have been right."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from bnn_jax.config.component import nearest
from bnn_jax.config.serialize import flatten, to_dict

_PART = re.compile(r"([A-Za-z_]\w*)((?:\[\d+\])*)$")
_TRUE_FALSE = ("true", "false", "0", "1", "t", "f", "yes", "no", "y", "n")


def check(config: Any, arguments: Sequence[str]) -> None:
    """Checks every `--config.path value` of a command line against the config it overrides.

    Args:
      config: The config as its file gives it.
      arguments: The command line.

    Raises:
      ValueError: For a path that does not exist (names the nearest) or a value that is not of the
        field's type.
    """
    for i, argument in enumerate(arguments):
        match = re.match(r"--?config\.([^=]+)(?:=(.*))?$", argument, re.DOTALL)
        if not match:
            continue
        path, value = match.groups()
        if value is None and i + 1 < len(arguments) and not arguments[i + 1].startswith("--"):
            value = arguments[i + 1]
        _check_value(path, _lookup(config, path), value)


def _lookup(config: Any, path: str) -> Any:
    holder, walked = config, ""
    for part in path.split("."):
        match = _PART.match(part)
        name = match.group(1) if match else part
        known = [f.name for f in dataclasses.fields(holder)] if dataclasses.is_dataclass(holder) else []
        if name not in known:
            where = f"config.{walked}" if walked else "config"
            hint = _hint(path, list(flatten(to_dict(config))))
            raise ValueError(
                f"--config.{path}: {where.rstrip('.')} has no field {name!r}{hint}; it has {known}"
            )
        holder = getattr(holder, name)
        for index in re.findall(r"\[(\d+)\]", match.group(2) if match else ""):
            if not isinstance(holder, list | tuple) or int(index) >= len(holder):
                size = len(holder) if isinstance(holder, list | tuple) else "no"
                raise ValueError(f"--config.{path}: {name} has {size} items, there is no [{index}]")
            holder = holder[int(index)]
        walked += part + "."
    return holder


def _hint(path: str, fields: list[str]) -> str:
    """The nearest field: one whose last name is nearly the last name asked for, else by the whole path."""
    last = {field.rpartition(".")[2]: field for field in reversed(fields)}
    close = nearest(path.rpartition(".")[2], list(last), cutoff=0.7, shown=last)
    return close or nearest(path, fields)


def _check_value(path: str, current: Any, value: str | None) -> None:
    if dataclasses.is_dataclass(current):
        inside = ", ".join(f.name for f in dataclasses.fields(current))
        raise ValueError(f"--config.{path} holds several fields: override one of them ({inside})")
    if isinstance(current, bool):
        good = value is None or value.lower() in _TRUE_FALSE
    elif value is None:
        raise ValueError(f"--config.{path} needs a value, e.g. --config.{path} {current}")
    else:
        good = not isinstance(current, int | float) or _parses(type(current), value)
    if not good:
        raise ValueError(
            f"--config.{path}: expected {type(current).__name__} like {current!r}, found {value!r}"
        )


def _parses(kind: type, value: str) -> bool:
    try:
        kind(value)
    except ValueError:
        return False
    return True
