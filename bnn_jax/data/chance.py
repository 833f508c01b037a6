"""Random numbers that are the same for ever, whatever the version of NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["uniforms"]

# Orders of examples are drawn from the same seeds.
_STREAM = 0x76696577


def uniforms(n: int, *key: int) -> npt.NDArray[np.float64]:
    """Numbers uniform in [0, 1), a pure function of the arguments: ``float64 (n,)``.

    Args:
      n: how many.
      *key: integers in ``[0, 2**64)``; other keys, longer and shorter ones too, give independent numbers.

    Raises:
      ValueError: if an integer is out of range.
    """
    if any(not 0 <= part < 2**64 for part in key):
        raise ValueError(f"expected integers in [0, 2**64), found {key}")
    words = [word for part in key for word in (part & 0xFFFFFFFF, part >> 32)]
    # Raw Philox words and SeedSequence are frozen by NumPy's policy; Generator's numbers are not.
    raw = np.random.Philox(np.random.SeedSequence([_STREAM, len(key), *words])).random_raw(n)
    return np.ldexp((raw >> np.uint64(11)).astype(np.float64), -53)
