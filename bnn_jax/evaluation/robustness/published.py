"""Images that are stored under every corruption, as those that are published."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bnn_jax.data import Source, eval_batches
from bnn_jax.evaluation.corruptions import SEVERITIES
from bnn_jax.evaluation.robustness.identity import checksum, sample_checksum
from bnn_jax.evaluation.robustness.outcomes import CLEAN, Cell, Outcomes
from bnn_jax.evaluation.robustness.parts import Part, Reading, Tail
from bnn_jax.training import parallel


@dataclass(frozen=True, eq=False)
class Published:
    """Stored images, the same ones in the same order under every corruption.

    Attributes:
      count: images of each corruption and severity.
      open: finds those of a cell; the clean ones are the run's own test set, which may be `Absent`.
      glimpse: as `open`, without looking which files there are, for reading a few.
      labels: of the images, (count,).
      paired: whether the clean images are known to be the same ones in the same order; None if they are absent.
      names: of the corruptions.
    """

    count: int
    open: Callable[[Cell], Source]
    glimpse: Callable[[Cell], Source]
    labels: np.ndarray
    paired: bool | None
    names: tuple[str, ...]

    def __len__(self) -> int:
        return self.count

    def identity(self) -> dict[str, Any]:
        """A sample of the images of each corruption, at every severity; of the clean ones, their order too.

        Raises:
          FileNotFoundError: if one of them is not there.
        """
        try:
            own = {name: self._sample(name) for name in self.names}
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error.filename}: expected the same files under every corruption, found no such one. Unpack the set "
                "whole, or use --leave_out"
            ) from error
        if self.paired is not None:
            clean = sample_checksum(self.open(CLEAN))
            own[CLEAN.corruption] = checksum([np.uint32(clean), np.bool_(self.paired)])
        return {"images_crc32": None, "pixels_version": None, "stored": None, "own_crc32": own}

    def _sample(self, name: str) -> int:
        return checksum([np.uint32(sample_checksum(self.glimpse(Cell(name, s)))) for s in SEVERITIES])

    def parts(self, outcomes: Outcomes, reading: Reading) -> Iterator[Part]:
        """Batches of which the outcomes are not known yet, one corruption after the other."""
        size = reading.batch_size
        for cell in outcomes.cells:
            if cell == CLEAN and self.paired is None:
                continue
            starts = range(0, self.count, size)
            first = next((start for start in starts if not outcomes.known(cell, start, size)), None)
            if first is None:
                continue
            tail = Tail(self.open(cell), first)
            for number, batch in enumerate(eval_batches(tail, batch_size=size, **reading.options)):
                yield Part(cell, first + number * size, dict(parallel.split(batch)))


def check_folder(root: Path, url: str) -> None:
    """Refuses what is no folder, and says where the images are to be had.

    Raises:
      FileNotFoundError: if it is none.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: expected the folder of the suite's images (--data), found no folder. They are at {url}"
        )


def leave_out(missing: Sequence[str], wanted: Sequence[str]) -> str:
    """What to add to a refusal for missing corruptions: how to do without them, if others are there."""
    there = set(wanted) - set(missing)
    return f"; or add {','.join(missing)} to --leave_out" if there and set(missing) <= set(wanted) else ""
