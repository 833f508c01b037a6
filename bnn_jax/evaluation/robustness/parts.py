"""What a suite hands over to be measured, and how it reads its images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from bnn_jax.data import Source
from bnn_jax.data.pipeline import gather
from bnn_jax.evaluation.robustness.outcomes import Cell, Outcomes


class Part(NamedTuple):
    """A batch of one corruption.

    Attributes:
      cell: the corruption and its severity.
      first: place of the batch's first image.
      batch: "image", "label" and "mask", laid out over the local devices.
    """

    cell: Cell
    first: int
    batch: dict[str, Any]


@dataclass(frozen=True)
class Reading:
    """How to read: images per batch over all processes, and further arguments of `bnn_jax.data.eval_batches`."""

    batch_size: int
    options: dict[str, Any]


class Suite(Protocol):
    """Corrupted images: how many there are of each corruption, and those whose outcomes are not known yet."""

    @property
    def labels(self) -> np.ndarray | None:
        """Of the images, in their order; None if only reading them would tell."""
        ...

    @property
    def paired(self) -> bool | None:
        """Whether the clean images are known to be the same ones in the same order; None if they are absent."""
        ...

    def __len__(self) -> int: ...

    def identity(self) -> dict[str, Any]:
        """What tells these images from others wherever they lie, as JSON has it: the same keys for every suite.

        "own_crc32" holds checksums of what one corruption alone consists of, by its name, "clean" for the images
        themselves. The other entries are of all images.
        """
        ...

    def parts(self, outcomes: Outcomes, reading: Reading) -> Iterator[Part]:
        """Batches, in any order."""
        ...


@dataclass(frozen=True)
class Tail:
    """A source from one of its examples on.

    Attributes:
      source: the whole.
      first: the example.
    """

    source: Source
    first: int

    def __len__(self) -> int:
        return len(self.source) - self.first

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.source[self.first + index]

    def gather(self, indices: np.ndarray) -> Mapping[str, Any]:
        """A whole batch, in the source's own way."""
        return gather(self.source, self.first + indices)
