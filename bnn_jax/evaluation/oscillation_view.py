"""How the oscillation of one network, or of two beside each other, looks: a table and a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bnn_jax.drawing import FAINT, GROUPS, INK, figure
from bnn_jax.training.console import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATIOS = {"flip_ratio": "flips", "flip_back_ratio": "flips back"}
NEAR = 0.1
WIDEST = 4.0
BINS = 81  # an odd number: the middle one lies about zero


def shared_layers(result: dict[str, Any]) -> list[str]:
    """The layers that all runs of a result have, in order."""
    return [name for name in result["run"]["layers"] if all(name in run["layers"] for run in result.values())]


def shared_epochs(result: dict[str, Any]) -> list[float]:
    """The epochs of which all runs have records of all layers that they share, in order."""
    layers = [run["layers"][name] for run in result.values() for name in shared_layers(result)]
    return sorted(set[float].intersection(*(set(layer["epochs"]) for layer in layers)))


def names(result: dict[str, Any]) -> list[str]:
    """What to call the runs: by the ends of their paths, as long as tells them apart; else "run" and "against"."""
    paths = [Path(run["folder"]).parts for run in result.values()]
    for length in range(1, max(map(len, paths)) + 1):
        ends = ["/".join(parts[-length:]) for parts in paths]
        if 1 < len(ends) == len(set(ends)):
            return ends
    return list(result)


def show(result: dict[str, Any]) -> None:
    """Prints the table.

    Args:
      result: What `bnn_jax.evaluation.oscillation.oscillation` returns.
    """
    runs = list(result.values())
    suffixes = [""] if len(runs) == 1 else [f", {name}" for name in names(result)]
    columns = [f"{what}{suffix}" for what in (*RATIOS.values(), "near zero") for suffix in suffixes]
    # One run may be further than the other: ratios fall with the learning rate.
    epoch = shared_epochs(result)[-1]
    ends = " and ".join(f"step {run['step']:,}" for run in runs)
    numbers = [
        [_at(epoch, run["layers"][name], ratio) for ratio in RATIOS for run in runs]
        + [run["layers"][name]["near_zero"] for run in runs]
        for name in shared_layers(result)
    ]
    named = zip((*shared_layers(result), "mean"), (*numbers, np.mean(numbers, 0)), strict=True)
    table(
        f"Share of bits flipped by a step of epoch {epoch:g}, and of latent weights near zero at the end ({ends})",
        ("layer", *columns),
        [(name, *(f"{value:.2e}" for value in row)) for name, row in named],
    )
    print(f"near zero: below {NEAR:g} of the filter's root mean square. flips back: by this step and the one before.")


def _at(epoch: float, layer: dict[str, Any], ratio: str) -> float:
    return layer[ratio][layer["epochs"].index(epoch)]


def draw(result: dict[str, Any], path: Path) -> None:
    """Draws `picture` to a file.

    Args:
      result: As for `show`.
      path: Of the PNG file, 1500 x 900 pixels.
    """
    picture(result).savefig(path)


def picture(result: dict[str, Any]) -> "Figure":
    """The ratios by epoch and the latent weights of the first, the middle and the last layer that all runs share."""
    layers, called = shared_layers(result), names(result)
    chosen = list(dict.fromkeys((layers[0], layers[(len(layers) - 1) // 2], layers[-1])))
    drawn = figure(10, 6)
    panels = drawn.subplots(2, len(chosen), squeeze=False, sharex="row")
    for (above, below), name in zip(panels.T, chosen, strict=True):
        for run, who, style, marker in zip(result.values(), called, ("-", ":"), (".", "x"), strict=False):
            _draw_ratios(above, run["layers"][name], who, style, marker)
            _draw_density(below, run["layers"][name], who, style)
        if any(value > 0 for run in result.values() for value in run["layers"][name]["flip_ratio"]):
            above.set_yscale("log")
        else:
            above.text(0.5, 0.5, "no flips", transform=above.transAxes, ha="center", color=INK)
            above.tick_params(labelleft=False)
        above.set(title=name, xlabel="epoch")
        above.locator_params(axis="x", integer=True)
        below.set(xlabel="latent weight / its filter's r.m.s.")
    panels[0][0].set_ylabel("share of bits, by step")
    panels[1][0].set_ylabel("density")
    for axes in panels.ravel():
        axes.grid(axis="y", color=FAINT)
        axes.tick_params(colors=INK)
        axes.set_axisbelow(True)
    _explain(drawn, panels)
    return drawn


def _explain(drawn: "Figure", panels: np.ndarray) -> None:
    """One legend for all panels, below them: inside it would cover what is drawn."""
    ratios, weights = panels[0][0].get_lines(), panels[1][0].get_lines()
    seen = {
        line.get_label()
        for axes in panels[0]
        for line in axes.get_lines()
        if np.isfinite(np.asarray(line.get_ydata())).any()
    }
    labels = [f"{line.get_label()}{'' if line.get_label() in seen else ': none'}" for line in ratios]
    labels += [f"latent weights, {line.get_label()}" for line in weights]
    # A column for each run's ratios, and one for the weights.
    columns = len(weights) + 1
    drawn.legend([*ratios, *weights], labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def _draw_ratios(axes: "Axes", layer: dict[str, Any], who: str, style: str, marker: str) -> None:
    for (ratio, what), colour in zip(RATIOS.items(), GROUPS, strict=False):
        values = np.asarray(layer[ratio])
        # A logarithm has no place for a layer at rest; a point between two such has no line.
        shown = np.where(values > 0, values, np.nan)
        axes.plot(layer["epochs"], shown, style, marker=marker, markersize=4, color=colour, label=f"{what}, {who}")


def _draw_density(axes: "Axes", layer: dict[str, Any], who: str, style: str) -> None:
    edges = np.linspace(-WIDEST, WIDEST, BINS + 1)
    axes.plot((edges[1:] + edges[:-1]) / 2, layer["density"], style, color=INK, label=who)
