"""What became of every image under every corruption: kept while it is measured, so that nothing is measured twice."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bnn_jax.evaluation.corruptions import ALL, SEVERITIES

# What an image came to: the right class was not among the first five, among them, the first.
WRONG, AMONG_FIVE, RIGHT, UNKNOWN = 0, 1, 2, 255


class Cell(NamedTuple):
    """One corruption at one severity; the images themselves are `CLEAN`."""

    corruption: str
    severity: int


CLEAN = Cell("clean", 0)
# Settings that make no image another: what is asked for, what is told of it (a dataset is named after its folder, an
# epoch is as long as the training set that is there), and what is of one corruption alone.
_ASIDE = dict.fromkeys(("names", "dataset", "epoch", "caveat", "paired", "own_crc32"))


def cells_of(names: Sequence[str]) -> tuple[Cell, ...]:
    """The clean images, then each corruption at each severity."""
    return (CLEAN, *(Cell(name, severity) for name in names for severity in SEVERITIES))


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Outcomes so far.

    Attributes:
      settings: what they are outcomes of, as JSON has it; others are never mixed with them.
      cells: the corruptions.
      values: uint8 (cells, images), of the four above.
      others: of corruptions that are measured in part and not asked for now, (images,) each: the file keeps them.
      replaced: names of corruptions (and "clean") whose outcomes were not taken up, as they are of other images.
    """

    settings: dict[str, Any]
    cells: tuple[Cell, ...]
    values: np.ndarray
    others: Mapping[Cell, np.ndarray] = field(default_factory=dict)
    replaced: tuple[str, ...] = ()

    def row(self, cell: Cell) -> np.ndarray:
        """Outcomes of one corruption at one severity: (images,)."""
        found: np.ndarray = self.values[self.cells.index(cell)]
        return found

    def known(self, cell: Cell, first: int = 0, count: int | None = None) -> bool:
        """Whether all of `count` images from `first` on (those there are) are measured."""
        row = self.row(cell)
        return not np.any(row[first : None if count is None else first + count] == UNKNOWN)

    def record(self, cell: Cell, first: int, values: np.ndarray) -> None:
        """Notes the outcomes of consecutive images; those after the last image are padding."""
        row = self.row(cell)
        kept = values[: len(row) - first]
        row[first : first + len(kept)] = kept

    def only(self, names: Sequence[str]) -> Outcomes:
        """Those of some corruptions, and the clean ones: to be summed up, not to be saved in place of the whole."""
        cells = cells_of(names)
        return Outcomes({**self.settings, "names": list(names)}, cells, np.stack([self.row(cell) for cell in cells]))

    def save(self, path: Path) -> None:
        """Writes a file whole or not at all."""
        part = path.with_name(path.name + ".part")
        cells = json.dumps([*self.cells, *self.others])
        values = np.stack([*self.values, *self.others.values()])
        with part.open("wb") as file:
            np.savez_compressed(file, settings=json.dumps(self.settings), cells=cells, values=values)
            file.flush()
            # A machine that stops would leave an empty file in the place of a whole one.
            os.fsync(file.fileno())
        os.replace(part, path)


def blank(settings: dict[str, Any], names: Sequence[str], images: int) -> Outcomes:
    """Nothing measured yet."""
    cells = cells_of(names)
    return Outcomes(settings, cells, np.full((len(cells), images), UNKNOWN, np.uint8))


def resume(path: Path, settings: dict[str, Any], names: Sequence[str], images: int) -> Outcomes:
    """What a file holds, if its settings are the same, and these corruptions to go on with.

    What is measured whole stays among the cells, and in the setting "names", asked for or not; what is measured in part
    and not asked for is kept among the others. Of a measurement of other settings nothing is taken.

    Images of one corruption may be others than before ("own_crc32"): that makes none of another others. Where they are
    absent, as clean ones may be, or not asked for, what was known of them stays.

    Args:
      path: the file, which may be damaged or not there.
      settings: as of `Outcomes`.
      names: of the corruptions that are asked for.
      images: of each.

    Raises:
      OSError: if the file is there and cannot be read: what it holds may be whole.
    """
    fresh = blank(settings, names, images)
    if not path.is_file():
        return fresh
    try:
        # Opened here: NumPy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            before, cells, values = (
                json.loads(str(stored["settings"])),
                json.loads(str(stored["cells"])),
                stored["values"],
            )
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return fresh
    if {**before, **_ASIDE} != {**settings, **_ASIDE} or values.shape[1:] != (images,):
        return fresh
    own, own_before = settings["own_crc32"], before["own_crc32"]
    others = {name for name in own if own[name] != own_before.get(name)}
    replaced = tuple(dict.fromkeys(name for name, _ in cells if name in others))
    old = {Cell(*cell): row for cell, row in zip(cells, values, strict=True) if cell[0] not in others}
    paired = before["paired"] if settings["paired"] is None else settings["paired"]
    settings = {**settings, "paired": paired, "own_crc32": {**own_before, **own}}
    names = [name for name in ALL if name in names or _whole(name, old)]
    known = blank({**settings, "names": names}, names, images)
    for cell in known.cells:
        known.row(cell)[:] = old.pop(cell, UNKNOWN)
    return replace(known, others=old, replaced=replaced)


def _whole(name: str, rows: Mapping[Cell, np.ndarray]) -> bool:
    cells = [Cell(name, severity) for severity in SEVERITIES]
    return all(cell in rows and not np.any(rows[cell] == UNKNOWN) for cell in cells)
