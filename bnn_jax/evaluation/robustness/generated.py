"""The corruptions of a run's own test set, made as they are needed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnn_jax.data import Source, eval_batches
from bnn_jax.evaluation.corruptions.pixels import jpeg_files
from bnn_jax.evaluation.corruptions.record import Corruption, at, corrupt_batch, tables
from bnn_jax.evaluation.robustness.identity import PIXELS, checksum, labels_of, sample_checksum
from bnn_jax.evaluation.robustness.outcomes import CLEAN, Cell, Outcomes
from bnn_jax.evaluation.robustness.parts import Part, Reading, Tail
from bnn_jax.evaluation.robustness.request import JPEG85, MEMORY
from bnn_jax.training import parallel

# ImageNet-C's files.
_QUALITY = np.array(85)
# Whatever JAX is set to: with others ("rbg") what an image draws depends on its batch.
_GENERATOR = "threefry2x32"


@dataclass(frozen=True, eq=False)
class Generated:
    """A test set under corruptions.

    The pixels of an image depend on the seed, the corruption, the severity and the image's place in the set: not on
    batches, devices or hosts, nor on what else is measured.

    Attributes:
      test: the images.
      shape: of one of them.
      corruptions: by name.
      variant: whose severities.
      seed: of all draws.
      jpeg: whether corrupted images are then stored as JPEG, as ImageNet-C's were.
    """

    test: Source
    shape: tuple[int, int, int]
    corruptions: Mapping[str, Corruption]
    variant: str
    seed: int
    jpeg: bool = False

    paired: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.test)

    @property
    def labels(self) -> np.ndarray | None:
        """Of the images, in their order; None if only reading them would tell."""
        return labels_of(self.test)

    def identity(self) -> dict[str, Any]:
        """What the images are made of: clean ones, the version of how, and the textures of frost."""
        frost = self.corruptions.get("frost")
        return {
            "images_crc32": sample_checksum(self.test),
            "pixels_version": PIXELS,
            "stored": JPEG85 if self.jpeg else MEMORY,
            "own_crc32": {"frost": checksum(tables(frost, self.variant, self.shape).textures[0])} if frost else {},
        }

    def parts(self, outcomes: Outcomes, reading: Reading) -> Iterator[Part]:
        """Batches of which something is not known yet: read once, then corrupted in every way."""
        size = reading.batch_size
        starts = range(0, len(self.test), size)
        first = next((s for s in starts if not all(outcomes.known(c, s, size) for c in outcomes.cells)), None)
        if first is None:
            return
        programs = {name: _program(corruption) for name, corruption in self.corruptions.items()}
        states = {cell: self._state(cell) for cell in outcomes.cells if cell != CLEAN and not outcomes.known(cell)}
        for number, batch in enumerate(eval_batches(Tail(self.test, first), batch_size=size, **reading.options)):
            start = first + number * size
            share = len(batch["label"])
            places = start + jax.process_index() * share + np.arange(share)
            spread = parallel.split({**batch, "place": np.minimum(places, len(self.test) - 1)})
            for cell in outcomes.cells:
                if outcomes.known(cell, start, size):
                    continue
                images = spread["image"]
                if cell != CLEAN:
                    images = self._corrupted(cell, programs, states, spread)
                yield Part(cell, start, {"image": images, "label": spread["label"], "mask": spread["mask"]})

    def _corrupted(self, cell: Cell, programs: Mapping[str, Any], states: Mapping[Cell, Any], spread: Any) -> Any:
        images = self._made(cell, programs, states, spread)
        return jpeg_files(np.asarray(images), _QUALITY) if self.jpeg else images

    def _made(self, cell: Cell, programs: Mapping[str, Any], states: Mapping[Cell, Any], spread: Any) -> Any:
        corruption, state = self.corruptions[cell.corruption], states[cell]
        if corruption.host is not None:
            return corruption.host(spread["image"], state["constants"])
        return programs[cell.corruption](state, {"image": spread["image"], "place": spread["place"]})

    def _state(self, cell: Cell) -> Any:
        corruption = self.corruptions[cell.corruption]
        constants = at(tables(corruption, self.variant, self.shape), cell.severity)
        if corruption.host is not None:
            return {"constants": constants}
        key = jax.random.key_data(cell_key(self.seed, cell))
        return parallel.replicate({"key": key, "constants": constants})


def cell_key(seed: int, cell: Cell) -> Array:
    """The key of one corruption at one severity; that of an image is `fold_in(key, its place)`."""
    # By name: the key must not depend on which other corruptions there are.
    number = zlib.crc32(cell.corruption.encode()) >> 1
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed, impl=_GENERATOR), number), cell.severity)


def _program(corruption: Corruption) -> Any:
    """`({"key", "constants"}, {"image", "place"}) -> images`, over all devices; compiled once for all severities."""
    return parallel.parallelize(partial(_corrupt, corruption), stay=True)


def _corrupt(corruption: Corruption, state: Any, batch: Mapping[str, Array]) -> Array:
    key = jax.random.wrap_key_data(state["key"], impl=_GENERATOR)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(batch["place"]))
    return corrupt_batch(corruption, keys, batch["image"], state["constants"])
