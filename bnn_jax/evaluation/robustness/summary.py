"""Outcomes summed up: errors, their means and how sure they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bnn_jax.evaluation.corruptions import COMMON, SEVERITIES
from bnn_jax.evaluation.robustness import mce
from bnn_jax.evaluation.robustness.outcomes import AMONG_FIVE, CLEAN, RIGHT, UNKNOWN, Cell, Outcomes


def errors_of(outcomes: Outcomes) -> dict[str, np.ndarray]:
    """For each corruption that is measured whole, whether each image was taken for something else: (5, images)."""
    names = list(dict.fromkeys(cell.corruption for cell in outcomes.cells if cell != CLEAN))
    rows = {name: np.stack([outcomes.row(Cell(name, s)) for s in SEVERITIES]) for name in names}
    return {name: np.not_equal(row, RIGHT) for name, row in rows.items() if not np.any(row == UNKNOWN)}


def common(errors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of the 15 corruptions that means are over."""
    return {name: error for name, error in errors.items() if name in COMMON}


def summarize(outcomes: Outcomes) -> dict[str, Any]:
    """What a JSON file holds of a measurement, finished or not.

    Returns:
      The settings, among them "caveat", why there is no mCE where it is to be expected, and: "complete", whether every
      corruption is measured; "clean", error and counts of the images themselves, None if they are not there;
      "corruptions", for each its errors and counts at severities 1 to 5, their mean "error" and its 95 % "interval";
      "mean_error" over those of the 15 common corruptions which "mean_over" names, with its interval; and, if the
      setting "beside_alexnet" says that errors may be set beside AlexNet's and those are all 15, "mce" and
      "relative_mce", the latter without an interval if the clean images are not known to be in the corrupted ones'
      order (setting "paired"). Errors are shares in [0, 1].
    """
    errors = errors_of(outcomes)
    clean = outcomes.row(CLEAN)
    knows_clean = not np.any(clean == UNKNOWN)
    per_image: dict[str, np.ndarray] = {name: error.mean(0) for name, error in errors.items()}
    if common(errors):
        per_image["mean_error"] = mce.mean_error(common(errors))
    wrong = np.not_equal(clean, RIGHT)
    alexnet = outcomes.settings["beside_alexnet"]
    if alexnet and len(common(errors)) == len(COMMON):
        per_image["mce"] = mce.mce(errors)
        if knows_clean:
            # Clean images in another order: the mean is the same, the interval would not be.
            paired = wrong if outcomes.settings["paired"] else np.array(wrong.mean())
            per_image["relative_mce"] = mce.relative_mce(errors, paired)
    if knows_clean:
        per_image["clean"] = wrong
    ends = dict(zip(per_image, mce.intervals(list(per_image.values())), strict=True)) if per_image else {}

    unknown = () if outcomes.settings["paired"] else ("relative_mce",)

    def told(name: str) -> dict[str, Any]:
        return {
            "error": float(per_image[name].mean()),
            "interval": None if name in unknown else list(ends[name]),
        }

    corruptions = {}
    for name, error in errors.items():
        entry = {**told(name), "errors": error.mean(1).tolist(), "correct": (~error).sum(1).tolist()}
        if alexnet and name in COMMON:
            entry["ce"] = float(mce.corruption_error(name, error.mean(1)))
            if knows_clean:
                entry["relative_ce"] = float(mce.relative_corruption_error(name, error.mean(1), wrong.mean()))
        corruptions[name] = entry
    result = {
        **outcomes.settings,
        "complete": len(errors) == len(outcomes.settings["names"]),
        "clean": {**told("clean"), **_counts(clean)} if knows_clean else None,
        "corruptions": corruptions,
        "mean_over": list(common(errors)),
    }
    return {**result, **{name: told(name) for name in ("mean_error", "mce", "relative_mce") if name in per_image}}


def _counts(row: np.ndarray) -> dict[str, int]:
    among_five = np.isin(row, (RIGHT, AMONG_FIVE)).sum()
    return {"correct": int((row == RIGHT).sum()), "correct_top5": int(among_five), "examples": len(row)}
