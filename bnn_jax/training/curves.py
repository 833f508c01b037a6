"""A picture of a run, drawn from its log: loss, accuracy, code flips, learning rate."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bnn_jax.drawing import EVAL, FAINT, GROUPS, INK, TRAIN, figure
from bnn_jax.training.run_log import read_log
from bnn_jax.training.step import PENALTIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILE = "curves.png"
MAX_GROUPS = 6
CROSS_ENTROPY = "loss/cross_entropy"
SMOOTH_FROM = 60  # points; a curve of more is drawn faint, with its running mean over it

Record = Mapping[str, Any]
Series = tuple[np.ndarray, np.ndarray]


def draw_curves(workdir: str | Path) -> Path:
    """Draws `workdir/curves.png` from `workdir/metrics.jsonl`, 1500 x 1000 pixels.

    Panels without data say so. Flips are averaged over the layers of a group (a stage, where layers are
    named so), with a band from the calmest layer to the busiest.

    Args:
      workdir: Folder of a run.

    Returns:
      The path of the picture.

    Raises:
      FileNotFoundError: If the run has no log.
      ValueError: If its log is damaged.
    """
    records = read_log(workdir)
    picture = figure(10, 20 / 3, w_pad=0.14, h_pad=0.12, wspace=0.03, hspace=0.03)
    (loss, accuracy), (flips, rate) = picture.subplots(2, 2, sharex=True)
    _draw_loss(loss, records)
    _draw_accuracy(accuracy, records)
    _draw_flips(flips, records)
    _draw_rate(rate, records)
    for axes in (loss, accuracy, flips, rate):
        _dress(axes)
    for axes in (flips, rate):
        axes.set_xlabel("epoch", color=INK)
    rate.set_xlim(left=0)
    path = Path(workdir) / FILE
    picture.savefig(path)
    return path


def series(records: Iterable[Record], kind: str, name: str) -> Series:
    """Epochs and values of one metric; records without it, or without a finite one, are left out."""
    pairs = [
        (record["epoch"], record[name])
        for record in records
        if record.get("kind") == kind and isinstance(record.get(name), int | float)
    ]
    epochs, values = np.array(pairs, np.float64).reshape(-1, 2).T
    return epochs, values


def flips_by_group(records: Iterable[Record]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Flip ratios of each group of layers: epochs `(n,)` and, `(n, 3)`, their smallest, mean and largest."""
    telemetry = [record for record in records if record.get("kind") == "telemetry"]
    names = dict.fromkeys(name for record in telemetry for name in record.get("layers", {}))
    found: dict[str, tuple[list[float], list[list[float]]]] = {}
    for group, members in group_layers(list(names)).items():
        epochs, spread = found.setdefault(group, ([], []))
        for record in telemetry:
            layers = record.get("layers", {})
            ratios = [layers[name]["flip_ratio"] for name in members if name in layers]
            ratios = [ratio for ratio in ratios if ratio is not None]
            if ratios:
                epochs.append(record["epoch"])
                spread.append([min(ratios), sum(ratios) / len(ratios), max(ratios)])
    return {group: (np.array(x), np.array(y).reshape(-1, 3)) for group, (x, y) in found.items()}


def group_layers(names: Sequence[str]) -> dict[str, list[str]]:
    """At most `MAX_GROUPS` groups of layers, in order: by what is common to the starts of their names.

    Tried from fine to coarse: the layer itself, its first module ("stage1_block2"), that up to the first
    "_" ("stage1"), that without its number ("stage"); else all are one group.
    """
    first = [name.partition("/")[0] for name in names]
    stems = [part.partition("_")[0] for part in first]
    words = [re.sub(r"\d+$", "", stem) for stem in stems]
    for keys in (list(names), first, stems, words):
        groups: dict[str, list[str]] = {}
        for key, name in zip(keys, names, strict=True):
            groups.setdefault(key, []).append(name)
        if len(groups) <= MAX_GROUPS:
            return groups
    return {"all layers": list(names)}


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Centered running mean over `window` values (an odd number), fewer at both ends; shape `(n,)`."""
    kernel = np.ones(window)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones_like(values), kernel, "same")


def _draw_loss(axes: "Axes", records: Sequence[Record]) -> None:
    axes.set_title("Loss")
    terms = {name for record in records for name in record if name.startswith("loss/")} - {f"loss/{PENALTIES}"}
    if terms <= {CROSS_ENTROPY}:
        _line(axes, series(records, "train", "loss"), TRAIN, "training")
        _line(axes, series(records, "eval", "loss"), EVAL, "test")
        return
    # A test has no other terms: side by side with their sum it would look better than it is.
    _line(axes, series(records, "train", "loss"), INK, "training, all terms")
    _line(axes, series(records, "train", CROSS_ENTROPY), TRAIN, "training, cross-entropy")
    _line(axes, series(records, "eval", "loss"), EVAL, "test, cross-entropy")


def _draw_accuracy(axes: "Axes", records: Sequence[Record]) -> None:
    axes.set_title("Accuracy, %")
    epochs, values = series(records, "train", "accuracy")
    _line(axes, (epochs, 100 * values), TRAIN, "training")
    epochs, values = series(records, "eval", "accuracy")
    if len(values):
        best = int(np.argmax(values))
        label = f"test, best {100 * values[best]:.2f} (epoch {epochs[best]:g})"
        _line(axes, (epochs, 100 * values), EVAL, label)
        axes.plot(epochs[best], 100 * values[best], "o", color=EVAL, markersize=6, zorder=4)


def _draw_flips(axes: "Axes", records: Sequence[Record]) -> None:
    axes.set_title("Share of code bits flipped by a step")
    for (group, (epochs, spread)), color in zip(flips_by_group(records).items(), GROUPS, strict=False):
        # A logarithm has no place for layers at rest.
        low, mean, high = np.where(spread > 0, spread, np.nan).T
        if not np.isfinite(mean).any():
            continue
        axes.set_yscale("log")
        axes.plot(epochs, mean, color=color, label=group, linewidth=1.6, marker=_marker(mean))
        axes.fill_between(epochs, np.where(np.isnan(low), mean, low), high, color=color, alpha=0.12, linewidth=0)


def _draw_rate(axes: "Axes", records: Sequence[Record]) -> None:
    axes.set_title("Learning rate")
    epochs, values = series(records, "train", "learning_rate")
    if len(values):
        # A record tells of the steps before it.
        line = np.concatenate([[0.0], epochs]), np.concatenate([values[:1], values])
        axes.plot(*line, color=INK, linewidth=1.6, drawstyle="steps-pre", marker=_marker(values))
        axes.set_ylim(bottom=0)


def _line(axes: "Axes", points: Series, color: str, label: str) -> None:
    epochs, values = points
    if not len(values):
        return
    if len(values) < SMOOTH_FROM:
        axes.plot(epochs, values, color=color, label=label, linewidth=1.6, marker="." if len(values) < 20 else "")
        return
    axes.plot(epochs, values, color=color, linewidth=0.8, alpha=0.3)
    axes.plot(epochs, smooth(values, len(values) // 40 * 2 + 1), color=color, label=label, linewidth=1.8)


def _marker(values: np.ndarray) -> str:
    """Few points are marked: a line through one would not be seen."""
    return "." if len(values) < 20 else ""


def _dress(axes: "Axes") -> None:
    """The look that all panels share; says so where there is nothing to draw."""
    axes.title.set(color=INK, fontsize=11, fontweight="bold", ha="left", x=0.0)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9, length=0, which="both")
    axes.margins(x=0.01)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    if not axes.lines:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color=INK, alpha=0.5)
        axes.tick_params(labelleft=False)
        axes.grid(visible=False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, labelcolor=INK, ncols=2, handlelength=1.4)
