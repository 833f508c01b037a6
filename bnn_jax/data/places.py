"""Where data sets usually lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["search_places"]


def search_places(directory: str, environment: Mapping[str, str]) -> list[Path]:
    """The folders to look in: only ``directory`` if given, else those usual on a machine, in order."""
    if directory:
        return [Path(directory).expanduser()]
    named = [environment[key] for key in ("BNN_JAX_DATA", "TFDS_DATA_DIR") if environment.get(key)]
    places = [*named, "~/tensorflow_datasets", "~/data", "data"]
    return [Path(place).expanduser() for place in dict.fromkeys(places)]
