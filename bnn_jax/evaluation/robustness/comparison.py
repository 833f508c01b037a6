"""Several runs under the same corruptions, as they are shown: one table, one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bnn_jax.evaluation.corruptions import COMMON
from bnn_jax.evaluation.robustness.picture import bars, shown_name
from bnn_jax.evaluation.robustness.report import aside, mean_over
from bnn_jax.training.console import table


def _lines(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, list[float]]:
    """For each quantity that all runs have, its value in every run."""
    summaries = list(runs.values())
    lines = (
        {"clean": [summary["clean"]["error"] for summary in summaries]} if all(s["clean"] for s in summaries) else {}
    )
    for name in summaries[0]["corruptions"]:
        lines[shown_name(name)] = [summary["corruptions"][name]["error"] for summary in summaries]
    over = len(summaries[0]["mean_over"])
    for key, name in (("mean_error", f"mean of {over}"), ("mce", "mCE"), ("relative_mce", "relative mCE")):
        if all(key in summary for summary in summaries):
            lines[name] = [summary[key]["error"] for summary in summaries]
    return lines


def show(runs: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints errors in %, a column for each run, and what they differ in."""
    summary = next(iter(runs.values()))
    rows = [(name, *(f"{100 * value:.2f}" for value in values)) for name, values in _lines(runs).items()]
    title = f"Error, %, of {summary['examples']:,} images of {summary['dataset']}, {summary['suite']}"
    table(f"{title}; mean over severities 1 to 5, {summary['checkpoint']} checkpoints", ("corruption", *runs), rows)
    for line in notes(list(runs.values())):
        print(line)
    for name, run in runs.items():
        if run["difference"]:
            low, high = (100 * end for end in run["difference"]["interval"])
            told = f"{100 * run['difference']['error']:+.2f} points ({low:+.2f} to {high:+.2f})"
            first = next(iter(runs))
            # Other seeds of the same two methods would differ by more than other images do.
            print(f"mean error of {name} minus that of {first}, of these two trained networks: {told}")


def notes(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is to be known of the table's lines, and why some are missed."""
    first = summaries[0]
    told = [] if len(first["mean_over"]) in (0, len(COMMON)) else [f"mean of {mean_over(first)}"]
    if not all(summary["clean"] for summary in summaries):
        told.append("no clean errors: the runs' own test images are not there (--data_directory), or not the same")
    if aside(first) and all("mce" in summary for summary in summaries):
        told.append(f"mCE and relative mCE{aside(first)}")
    return [*told, *dict.fromkeys(summary["caveat"] for summary in summaries if summary["caveat"])]


def draw(runs: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draws the errors, a bar for each run, to a file."""
    lines = _lines(runs)
    shown = {name: values for name, values in lines.items() if "mCE" not in name}
    summary = next(iter(runs.values()))
    columns = dict(zip(runs, zip(*shown.values(), strict=True), strict=True))
    bars(list(shown), columns, f"{summary['dataset']}, {summary['suite']}: mean over severities 1 to 5", path)
