"""Sets of encoded images too large for memory, of any size: decoded when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from bnn_jax.data import views
from bnn_jax.data.chance import uniforms

__all__ = ["ImageSource", "Record", "Records", "View"]


class Record(NamedTuple):
    """One example as it is stored.

    Attributes:
      encoded: a JPEG or PNG file's bytes.
      label: of the image.
      where: path, or file and number; for error messages.
    """

    encoded: bytes
    label: int
    where: str


class Records(Protocol):
    """Stored examples, read one by one, from any thread."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...


@dataclass(frozen=True)
class View:
    """How images of any size become images of one.

    Attributes:
      size: pixels a side of what the network sees.
      resize: pixels of the shorter side before the middle is cut out, in evaluation.
      scale: share of an image's area that a random part covers in training, see `views.random_box`.
      ratio: width / height of that part.

    Raises:
      ValueError: if a number is out of range.
    """

    size: int = 224
    resize: int = 256
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        if not 0 < self.size <= self.resize:
            raise ValueError(f"expected 0 < size <= resize, found size {self.size} and resize {self.resize}")
        for name in ("scale", "ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"expected {name} to be two numbers, 0 < least <= largest, found {low} and {high}")
        if self.scale[0] > 1:
            raise ValueError(f"expected scale to begin at 1 (the whole image) at most, found {self.scale[0]}")


@dataclass(frozen=True, eq=False)
class ImageSource:
    """Stored images as a `Source`: items show an image's middle, `draw` a random part of it."""

    records: Records
    view: View

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self.records[index]
        image = views.middle(views.decode(record.encoded, record.where), self.view.resize, self.view.size)
        return {"image": image, "label": np.int32(record.label)}

    def draw(self, index: int, seed: tuple[int, ...]) -> dict[str, Any]:
        """A random part of an image, a pure function of its arguments.

        Args:
          index: of the example.
          seed: non-negative integers.
        """
        record = self.records[index]
        chances = uniforms(views.DRAWS, *seed)
        image = views.decode(record.encoded, record.where)
        part = views.random_part(image, self.view.size, chances, self.view.scale, self.view.ratio)
        return {"image": part, "label": np.int32(record.label)}
