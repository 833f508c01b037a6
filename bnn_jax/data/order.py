"""Random orders that are the same for ever, whatever the version of NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["permutation", "stratified"]


def permutation(n: int, seed: int, stream: int = 0) -> npt.NDArray[np.int64]:
    """A uniformly random order of ``0 .. n - 1``, a pure function of its arguments.

    Args:
      n: length.
      seed: non-negative integer of any size.
      stream: non-negative; orders of different streams (epochs, classes) are independent. Seeds are never
        added to streams, so seed 0, stream 1 is unrelated to seed 1, stream 0.

    Returns:
      ``int64 (n,)``.
    """
    # Raw Philox words and SeedSequence are frozen by NumPy's policy; Generator.permutation is not.
    words = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(stream,))).random_raw(n)
    return np.argsort(words, kind="stable")


def stratified(labels: npt.NDArray[np.integer], counts: npt.NDArray[np.integer], seed: int) -> npt.NDArray[np.bool_]:
    """Marks ``counts[c]`` random examples of every class ``c``.

    The marked sets are nested: larger counts with the same seed mark a superset.

    Args:
      labels: ``(N,)`` in ``[0, len(counts))``.
      counts: ``(num_classes,)``, at most the number of examples of each class.
      seed: non-negative integer.

    Returns:
      ``bool (N,)``.
    """
    marked = np.zeros(len(labels), bool)
    for label, count in enumerate(counts):
        members = np.flatnonzero(labels == label)
        marked[members[permutation(len(members), seed, stream=label)[:count]]] = True
    return marked
