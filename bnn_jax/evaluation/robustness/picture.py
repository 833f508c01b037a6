"""Pictures of robustness: a heat map of one run, bars of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bnn_jax.drawing import FAINT, GROUPS, INK, figure
from bnn_jax.evaluation.corruptions import COMMON, SEVERITIES

_TITLE = 60


def shown_name(name: str) -> str:
    """Of a corruption: those that no mean is over are marked."""
    return name if name in COMMON else f"{name} (extra)"


def heat_map(summary: Mapping[str, Any], path: Path) -> None:
    """Draws the errors of every corruption at every severity, in %, beside the clean one, to a file of a run's folder.

    The title names the folder, by the end of its name, and the file, which tells other draws of the same run apart.
    """
    names = list(summary["corruptions"])
    entries = summary["corruptions"].values()
    errors = 100 * np.array([[*entry["errors"], np.mean(entry["errors"])] for entry in entries])
    picture = figure(6.5, 0.32 * len(names) + 1.8)
    axes = picture.subplots()
    image = axes.imshow(errors, cmap="YlOrRd", vmin=0, vmax=100, aspect="auto")
    axes.set_xticks(range(len(SEVERITIES) + 1), [*map(str, SEVERITIES), "mean"])
    axes.axvline(len(SEVERITIES) - 0.5, color="white", linewidth=3)
    axes.set_yticks(range(len(names)), [shown_name(name).replace("_", " ") for name in names])
    axes.set_xlabel("severity", color=INK)
    for (row, column), error in np.ndenumerate(errors):
        axes.text(
            column, row, f"{error:.1f}", ha="center", va="center", color="white" if error > 60 else INK, fontsize=8
        )
    of = f"{summary['checkpoint']} checkpoint of {_end('/'.join(path.resolve().parent.parts[-2:]))}"
    title = f"Error, %: {summary['dataset']}, {path.stem}\n{of}\n{_means(summary)}"
    axes.set_title(title.rstrip(), color=INK, fontsize=10)
    axes.tick_params(colors=INK, length=0)
    picture.colorbar(image, ax=axes, shrink=0.8)
    picture.savefig(path)


def _means(summary: Mapping[str, Any]) -> str:
    over = summary["mean_over"]
    some = "" if len(over) == len(COMMON) else f"{len(over)} of "
    found = {"clean": summary["clean"], f"mean over {some}the {len(COMMON)}": summary["mean_error"] if over else None}
    return ", ".join(f"{name}: {100 * entry['error']:.1f} %" for name, entry in found.items() if entry)


def bars(names: Sequence[str], runs: Mapping[str, Sequence[float]], title: str, path: Path) -> None:
    """Draws one group of bars for each name, one bar for each run: errors in [0, 1]."""
    picture = figure(max(8.0, 0.55 * len(names)), 4.5)
    axes = picture.subplots()
    width = 0.8 / len(runs)
    for i, (run, errors) in enumerate(runs.items()):
        places = np.arange(len(names)) + (i - (len(runs) - 1) / 2) * width
        axes.bar(places, 100 * np.asarray(errors), 0.95 * width, color=GROUPS[i % len(GROUPS)], label=run)
    axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names], rotation=40, ha="right")
    axes.set_ylabel("error, %", color=INK)
    axes.set_title(title, color=INK, fontsize=10, loc="left")
    axes.grid(axis="y", color=FAINT)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK)
    axes.margins(x=0.01)
    picture.legend(frameon=False, loc="outside upper right", ncols=min(len(runs), 4))
    picture.savefig(path)


def _end(name: str) -> str:
    return name if len(name) <= _TITLE else f"...{name[-_TITLE:]}"
