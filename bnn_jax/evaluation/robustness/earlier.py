"""What was measured before: taken up on every process, and told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bnn_jax.evaluation.robustness.outcomes import UNKNOWN, Cell, Outcomes, resume
from bnn_jax.training import parallel


def taken_up(path: Path, settings: dict[str, Any], images: int) -> Outcomes:
    """`resume` on every process.

    Raises:
      OSError: if one of them cannot read the file; on all of them, which would wait for it otherwise.
    """
    error: OSError | None = None
    try:
        found = resume(path, settings, settings["names"], images)
    except OSError as caught:
        error = caught
    if parallel.gather(int(error is not None)).any():
        raise OSError(
            f"{path}: expected what was measured before, found that it cannot be read "
            f"({error or 'by another process'}). Try again, or move it away to measure anew"
        ) from error
    return found


def tell(path: Path, outcomes: Outcomes, wanted: Sequence[Cell]) -> None:
    """Prints what a file holds of what is to be measured."""
    whole = sum(outcomes.known(cell) for cell in wanted)
    begun = sum(bool(np.any(outcomes.row(cell) != UNKNOWN)) for cell in wanted) - whole
    if whole or begun:
        partly = f", and {begun} in part" if begun else ""
        print(f"{path}: {whole} of {len(wanted)} measurements are there already{partly}. Remove it to make them anew.")
    elif not outcomes.others and not outcomes.replaced and not np.any(outcomes.values != UNKNOWN):
        print(f"{path} holds nothing of these weights and images: it is measured anew, and will be replaced.")
    if outcomes.replaced:
        print(f"{path}: of other images than these, and measured anew: {', '.join(outcomes.replaced)}.")
