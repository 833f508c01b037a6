"""Fields of a config set by their path, with errors that say what would have been right.

`check` looks at the overrides of a command line before anything runs; `override` sets one field.
"""

import dataclasses
import re
import typing
from collections.abc import Sequence
from typing import Any

from bnn_jax.config.component import Component, nearest
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
        match = re.match(r"--?(no)?config\.([^=]+)(?:=(.*))?$", argument, re.DOTALL)
        if not match:
            continue
        negated, path, value = match.groups()
        try:
            current, kind, _ = _lookup(config, path)
            _place(config, path)
        except ValueError as error:
            raise ValueError(f"--config.{path}: {error}") from None
        following = arguments[i + 1] if i + 1 < len(arguments) else "--"
        if kind is bool and value is None and following.lower() in _TRUE_FALSE:
            raise ValueError(f"--config.{path} {following}: write --config.{path}={following}")
        if negated and kind is not bool:
            raise ValueError(f"--noconfig.{path}: {path} is not true or false, but {current!r}")
        if kind is not bool and value is None and not following.startswith("--"):
            value = following
        _check_value(path, current, kind, value)


def override(config: Any, path: str, value: Any) -> None:
    """Sets the field at `path` ("losses[0].weight", say) of a config, in place.

    Raises:
      ValueError: For a path that does not exist (names the nearest) or a value that is not of the
        field's type.
    """
    current, kind, optional = _lookup(config, path)
    if not (optional and value is None) and not _fits(current, kind, value):
        expected = "component" if isinstance(current, Component) else kind.__name__
        raise ValueError(f"{path}: expected {expected} like {current!r}, found {value!r}")
    head, index = _place(config, path)
    if index is None:
        holder, _, name = path.rpartition(".")
        setattr(_lookup(config, holder)[0] if holder else config, name, value)
        return
    _lookup(config, head)[0][index] = value


def _place(config: Any, path: str) -> tuple[str, int | None]:
    """The list that `path` ends in an item of, and which; the path itself and None elsewhere.

    Raises:
      ValueError: If it is an item of a tuple.
    """
    match = re.fullmatch(r"(.*)\[(\d+)\]", path, re.DOTALL)
    if not match:
        return path, None
    items = _lookup(config, match[1])[0]
    if not isinstance(items, list):
        raise ValueError(f"{path}: {match[1]} is no list; set it as a whole, now {items!r}")
    return match[1], int(match[2])


def _fits(current: Any, kind: type, value: Any) -> bool:
    """Whether `value` may take the place of `current`."""
    if isinstance(current, Component):
        return value is None or isinstance(value, Component)
    if dataclasses.is_dataclass(current) or kind in (bool, str):
        return isinstance(value, kind)
    if kind in (int, float):
        return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    return True


def _lookup(config: Any, path: str) -> tuple[Any, type, bool]:
    """The value at `path`, the type a new one must have, and whether None will do."""
    holder, walked, kind, optional = config, "", type(config), False
    for part in path.split("."):
        match = _PART.match(part)
        name = match.group(1) if match else part
        fields = dataclasses.fields(holder) if dataclasses.is_dataclass(holder) else ()
        declared = {field.name: field.type for field in fields}
        if name not in declared:
            where = f"config.{walked}".rstrip(".")
            if isinstance(holder, list | tuple):
                # Stages and losses have names, which are taken for fields.
                named = next((i for i, item in enumerate(holder) if getattr(item, "name", None) == part), None)
                write = f"[0].{part} for its first" if named is None else f"[{named}]. for its {part!r}"
                raise ValueError(f"{where} is a list of {len(holder)}: write {where}{write}")
            hint = _hint(path, list(flatten(to_dict(config))))
            raise ValueError(f"{where} has no field {name!r}{hint}; it has {list(declared)}")
        holder = getattr(holder, name)
        kind, optional = _kind(declared[name], holder), type(None) in typing.get_args(declared[name])
        for index in re.findall(r"\[(\d+)\]", match.group(2) if match else ""):
            if not isinstance(holder, list | tuple) or int(index) >= len(holder):
                size = len(holder) if isinstance(holder, list | tuple) else "no"
                raise ValueError(f"{name} has {size} items, there is no [{index}]")
            holder = holder[int(index)]
            kind, optional = type(holder), False
        walked += part + "."
    return holder, kind, optional


def _kind(declared: Any, value: Any) -> type:
    """The declared type where it is a plain one (a float field may hold 0, an optional one None) or a tuple."""
    # Of tuple[float, float] and dict[str, int] the arguments are their items'.
    whole = typing.get_origin(declared) in (tuple, dict)
    among = (declared,) if whole else typing.get_args(declared) or (declared,)
    kinds = [typing.get_origin(kind) or kind for kind in among]
    plain = [kind for kind in (bool, int, float, str, tuple) if kind in kinds]
    return plain[0] if len(plain) == 1 else type(value)


def _hint(path: str, fields: list[str]) -> str:
    """The nearest field: one whose last name is nearly the last name asked for, else by the whole path."""
    shown = {field: f"config.{field}" for field in fields}
    last = {field.rpartition(".")[2]: shown[field] for field in reversed(fields)}
    close = nearest(path.rpartition(".")[2], list(last), cutoff=0.7, shown=last)
    return close or nearest(path, fields, shown=shown)


def _check_value(path: str, current: Any, kind: type, value: str | None) -> None:
    if dataclasses.is_dataclass(current):
        inside = ", ".join(f.name for f in dataclasses.fields(current))
        raise ValueError(f"--config.{path} holds several fields: override one of them ({inside})")
    if isinstance(current, dict):
        raise ValueError(f"--config.{path} ({', '.join(map(str, current))}) can only be changed in the config file")
    if kind is type(None):
        raise ValueError(f"--config.{path} is None, for which only a config file can give another value")
    if kind is bool:
        good = value is None or value.lower() in _TRUE_FALSE
    elif value is None:
        raise ValueError(f"--config.{path} needs a value, e.g. --config.{path} {current}")
    else:
        good = kind not in (int, float) or _parses(kind, value)
    if not good:
        raise ValueError(f"--config.{path}: expected {kind.__name__} like {current!r}, found {value!r}")


def _parses(kind: type, value: str) -> bool:
    try:
        kind(value)
    except ValueError:
        return False
    return True
