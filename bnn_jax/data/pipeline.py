"""Batches of a source, in an order that is a pure function of seed and step.

The unit that grain iterates over is the batch number. So the state of an iterator is one integer, the steps
done, the same in every process: a run may be resumed at any step, with any number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bnn_jax.data.order import permutation
from bnn_jax.data.source import Source

if TYPE_CHECKING:
    import grain

__all__ = ["eval_batches", "gather", "steps_per_epoch", "train_iterator"]

Batch = dict[str, npt.NDArray[Any]]

# Grain wants a length; at a thousand steps a second this one lasts longer than the Earth has.
_FOR_EVER = 2**62


def gather(source: Source, indices: npt.NDArray[np.integer]) -> Batch:
    """Reads the examples at ``indices (n,)``, with the source's own ``gather`` if it has one.

    Returns:
      ``{"image": (n, H, W, C), "label": int32 (n,)}``.
    """
    own = getattr(source, "gather", None)
    if own is not None:
        batch: Mapping[str, Any] = own(indices)
    else:
        batch = _stack([source[int(index)] for index in indices])
    return {"image": np.asarray(batch["image"]), "label": np.asarray(batch["label"], np.int32)}


def _stack(examples: Sequence[Mapping[str, Any]]) -> Batch:
    images = np.stack([example["image"] for example in examples])
    return {"image": images, "label": np.asarray([example["label"] for example in examples], np.int32)}


def steps_per_epoch(source: Source, batch_size: int) -> int:
    """Full batches in one pass over the source; the examples left over wait for the next epoch's order."""
    return len(source) // batch_size


def _check(source: Source, batch_size: int, process_index: int, process_count: int) -> None:
    if process_count < 1 or not 0 <= process_index < process_count:
        raise ValueError(
            f"expected 0 <= process_index < process_count, found {process_index} and {process_count}. "
            "Pass jax.process_index() and jax.process_count()."
        )
    if batch_size < 1 or batch_size % process_count:
        nearest = max(1, round(batch_size / process_count)) * process_count
        raise ValueError(
            f"expected batch_size, which counts all processes, to be a positive multiple of process_count "
            f"{process_count}, found {batch_size}. Use {nearest}."
        )
    if len(source) == 0:
        raise ValueError("expected a source with examples, found an empty one. Check the split or its path.")
    example = source[0]
    missing = {"image", "label"} - set(example)
    if missing:
        raise ValueError(
            f"expected source[0] to have the keys 'image' and 'label', found {sorted(example)}. "
            "Rename the source's keys."
        )


def _iterate(read: Callable[[int], Batch], length: int, threads: int, prefetch: int) -> grain.DatasetIterator:
    # Imported here because it brings Orbax and absl flags with it.
    import grain

    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
    return iter(grain.MapDataset.range(length).map(read).to_iter_dataset(options))


def train_iterator(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 1,
    prefetch: int = 4,
) -> grain.DatasetIterator:
    """Shuffled batches for ever.

    Every epoch visits the examples in another order, given by ``seed`` and the epoch's number; the last
    examples, too few for a batch, are left out of that epoch. The global batch of a step does not depend on
    ``process_count``: each process gets its contiguous part of it, in order. Of a source with a ``draw`` each
    example is a random view, another one in each epoch.

    Args:
      source: the examples.
      batch_size: examples per step over all processes.
      seed: non-negative.
      process_index: which process this is.
      process_count: number of processes.
      threads: that read ahead, a batch each; more help where reading means decoding. 0 reads when asked.
      prefetch: batches to keep ready.

    Returns:
      A grain iterator of ``{"image": uint8 (batch_size / process_count, H, W, C), "label": int32 (same,)}``.
      ``get_state()`` returns ``{"next_index": steps done}``, plain JSON, and ``set_state()`` takes it; resume
      is exact at every step. Orbax saves and restores the iterator itself.

    Raises:
      ValueError: if an argument is out of its range or the source is too small or of another form.
    """
    _check(source, batch_size, process_index, process_count)
    if batch_size > len(source):
        raise ValueError(
            f"expected batch_size of at most the {len(source)} examples of the source, found {batch_size}. "
            "Use a smaller batch_size."
        )
    if seed < 0:
        raise ValueError(f"expected a seed of 0 or more, found {seed}. Use {abs(seed)}, say.")
    draw = getattr(source, "draw", None)
    per_epoch, share = steps_per_epoch(source, batch_size), batch_size // process_count

    # While batches are read ahead over the end of an epoch, more than one order is in use.
    @lru_cache(maxsize=2 + prefetch // per_epoch)
    def order(epoch: int) -> npt.NDArray[np.int64]:
        return permutation(len(source), seed, stream=epoch)

    lock = Lock()

    def read(step: int) -> Batch:
        epoch, position = divmod(int(step), per_epoch)
        first = position * batch_size + process_index * share
        with lock:  # so that threads do not draw the same order side by side
            indices = order(epoch)[first : first + share]
        if draw is None:
            return gather(source, indices)
        # By its place in the global batch, so that a view does not depend on the number of processes.
        places = enumerate(indices, process_index * share)
        return _stack([draw(int(index), (seed, int(step), place)) for place, index in places])

    return _iterate(read, _FOR_EVER, threads, prefetch)


def eval_batches(
    source: Source,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 1,
    prefetch: int = 4,
) -> Iterator[Batch]:
    """Every example once, in order, in batches of one shape.

    The last batch is filled up with examples whose mask is False; they repeat a real example, because blank
    images may become NaN in a model and NaN times a mask of zero is NaN. All processes yield the same number
    of batches.

    Args:
      source: the examples.
      batch_size: examples per step over all processes; may exceed the source.
      process_index: which process this is.
      process_count: number of processes.
      threads: that read ahead, a batch each. 0 reads when asked.
      prefetch: batches to keep ready.

    Returns:
      An iterator of ``{"image": uint8 (b, H, W, C), "label": int32 (b,), "mask": bool (b,)}`` with
      ``b = batch_size / process_count``.

    Raises:
      ValueError: if an argument is out of its range or the source is of another form.
    """
    _check(source, batch_size, process_index, process_count)
    share = batch_size // process_count

    def read(step: int) -> Batch:
        positions = int(step) * batch_size + process_index * share + np.arange(share)
        batch = gather(source, np.minimum(positions, len(source) - 1))
        return {**batch, "mask": positions < len(source)}

    batches: Iterator[Batch] = _iterate(read, -(-len(source) // batch_size), threads, prefetch)
    return batches
