"""A run under a suite of corruptions: a table on the screen, a picture, a JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from bnn_jax.evaluation.corruptions import COMMON, SEVERITIES
from bnn_jax.evaluation.robustness.measure import measure
from bnn_jax.evaluation.robustness.picture import heat_map, shown_name
from bnn_jax.evaluation.robustness.request import GENERATED, MEMORY, Request
from bnn_jax.training.console import table

# Of ImageNet-C's images, and of those AlexNet's errors are of.
_USUAL_SIZE = (224, 224)


def robustness(workdir: Path, request: Request) -> dict[str, Any]:
    """Measures a run (`measure.measure`), shows the result and draws it.

    Args:
      workdir: folder of the run.
      request: what to measure.

    Returns:
      What was written to `workdir/<stem>.json`, see `summary.summarize`.

    Raises:
      FileNotFoundError, KeyboardInterrupt, ValueError: as `measure.measure`.
    """
    summary, _ = measure(workdir, request)
    if jax.process_index() == 0:
        show(summary)
        picture = workdir / f"{request.stem}.png"
        heat_map(summary, picture)
        tell_of_others(summary, request)
        print(f"Picture and numbers: {picture}, {picture.with_suffix('.json')}")
    return summary


def tell_of_others(summary: Mapping[str, Any], request: Request) -> None:
    """Prints which corruptions are shown though they are left out now, and which of a published set are not there."""
    others = [name for name in summary["corruptions"] if name not in request.names]
    if others:
        print(f"Left out now and shown all the same, as they were measured before: {', '.join(others)}")
    absent = [name for name in request.names if name not in summary["corruptions"]]
    if absent:
        print(f"Not in {request.images}, and so not measured: {', '.join(absent)}")


def show(summary: Mapping[str, Any]) -> None:
    """Prints errors in %: a row for each corruption, then the means."""
    relative = any("ce" in entry for entry in summary["corruptions"].values())
    columns = ("corruption", *map(str, SEVERITIES), "error %", "95 % interval", *(("CE %",) if relative else ()))
    rows = []
    for name, entry in summary["corruptions"].items():
        errors = [f"{100 * error:.2f}" for error in entry["errors"]]
        ce = [f"{100 * entry['ce']:.1f}" if "ce" in entry else "-"] if relative else []
        rows.append((shown_name(name), *errors, f"{100 * entry['error']:.2f}", _interval(entry), *ce))
    source = "generated" if summary["suite"] == GENERATED else "published images"
    table(
        f"Error, %, of {summary['examples']:,} images of {summary['dataset']}, {summary['suite']} ({source}, "
        f"severities of {summary['severities_of']}), {summary['checkpoint']} checkpoint, epoch {summary['epoch']:g}",
        columns,
        rows,
    )
    for line in conclusions(summary):
        print(line)


def conclusions(summary: Mapping[str, Any]) -> list[str]:
    """Clean error, mean error, mCE and relative mCE, those there are, in words; why mCE is missed, if it is."""
    named = {
        "clean": "clean error",
        "mean_error": f"mean error over {mean_over(summary)}",
        "mce": f"mCE{aside(summary)}",
        "relative_mce": f"relative mCE{aside(summary)}",
    }
    found = {key: summary[key] for key in named if summary.get(key)}
    told = [f"{named[key]}: {100 * value['error']:.2f} % ({_interval(value)})" for key, value in found.items()]
    if summary["beside_alexnet"] and "mce" not in summary:
        told.append(f"no mCE, which is of all {len(COMMON)}")
    if not summary["clean"]:
        missed = "clean error and no relative mCE" if "mce" in summary else "clean error"
        told.append(f"no {missed}: the run's own test images, the clean ones, are not there (--data_directory)")
    return [*told, *([summary["caveat"]] if summary["caveat"] else [])]


def mean_over(summary: Mapping[str, Any]) -> str:
    """Which corruptions a mean is over: one over fewer is another quantity."""
    over = summary["mean_over"]
    absent = [name for name in COMMON if name not in over]
    some = f"{len(over)} corruption{'s' if len(over) > 1 else ''}, WITHOUT {', '.join(absent)}"
    return some if absent else f"the {len(COMMON)} corruptions"


def aside(summary: Mapping[str, Any]) -> str:
    """What is to be known before a figure is set beside a paper's: how images were made, and their size."""
    told = []
    if summary["suite"] == GENERATED and summary["stored"] == MEMORY:
        told.append("generated in memory; ImageNet-C is stored as JPEG 85: not comparable with published mCE")
    elif summary["suite"] == GENERATED:
        told.append("generated and stored as JPEG 85: other draws than ImageNet-C's")
    height, width = summary["image_shape"][:2]
    if (height, width) != _USUAL_SIZE:
        told.append(f"of {height} x {width} pixels, where severities and AlexNet's errors are of 224 x 224")
    return f" ({'; '.join(told)})" if told else ""


def _interval(entry: Mapping[str, Any]) -> str:
    if entry["interval"] is None:
        return "no interval: clean images are in an order of their own"
    low, high = entry["interval"]
    return f"{100 * low:.2f} to {100 * high:.2f}"
