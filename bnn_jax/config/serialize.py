"""Configs to plain dictionaries and back, and what differs between two."""

import dataclasses
import re
import typing
from typing import Any

from bnn_jax.config.component import Component, component, resolve, target_of
from bnn_jax.config.experiment import Config

TARGET = "()"


def to_dict(config: Any) -> Any:
    """A config as JSON-serializable dictionaries and lists; components carry their target under "()"."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        plain = {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}
        return {TARGET: target_of(config), **plain} if isinstance(config, Component) else plain
    if isinstance(config, list | tuple):
        return [to_dict(item) for item in config]
    return config


def from_dict(plain: dict[str, Any]) -> Config:
    """The inverse of `to_dict`.

    Raises:
      ValueError: If a component is unknown to this installation.
      TypeError: If a field or option is.
    """
    return _rebuild(plain, Config)


def _rebuild(plain: Any, kind: Any) -> Any:
    if isinstance(plain, dict) and TARGET in plain:
        target = resolve(plain[TARGET])
        return component(target, **{k: _rebuild(v, None) for k, v in plain.items() if k != TARGET})
    if isinstance(plain, list):
        # Fields of configs are lists of dataclasses; options of components are tuples.
        if typing.get_origin(kind) is list:
            return [_rebuild(item, *typing.get_args(kind)) for item in plain]
        return tuple(_rebuild(item, None) for item in plain)
    known: list[Any] = [one for one in (typing.get_args(kind) or (kind,)) if dataclasses.is_dataclass(one)]
    if isinstance(plain, dict) and known:
        hints = typing.get_type_hints(known[0])
        return known[0](**{key: _rebuild(value, hints.get(key)) for key, value in plain.items()})
    return plain


def flatten(plain: Any, prefix: str = "") -> dict[str, Any]:
    """`{"data": {"batch_size": 8}}` to `{"data.batch_size": 8}`; list items as `losses[0].weight`."""
    if isinstance(plain, dict):
        items = [(f"{prefix}.{key}" if prefix else key, value) for key, value in plain.items()]
    elif isinstance(plain, list):
        items = [(f"{prefix}[{i}]", value) for i, value in enumerate(plain)]
    else:
        return {prefix: plain}
    return {name: leaf for key, value in items for name, leaf in flatten(value, key).items()}


def differences(old: Config, new: Config) -> list[str]:
    """Lines `field: old value -> new value` where two configs differ in what bears on the result."""
    a, b = flatten(to_dict(old)), flatten(to_dict(new))
    # Data may move between two sessions of a run.
    names = [name for name in {**a, **b} if not re.search(r"(^|\.)run\.|\.directory$", name)]
    missing = "(absent)"
    return [
        f"{name}: {a.get(name, missing)!r} -> {b.get(name, missing)!r}"
        for name in names
        if a.get(name, missing) != b.get(name, missing)
    ]
