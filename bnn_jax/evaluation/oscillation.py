"""How much the weights of a binary network oscillate while it trains: a table, a picture and a JSON file.

Of a layer, in the step from t to t + 1, with codes b:

    flip ratio         mean[b_t != b_(t+1)]
    flip-back ratio    mean[b_(t-1) != b_t and b_t != b_(t+1)]        (a flip that is undone at once)

A run's telemetry holds both for single steps, `run.telemetry_every` steps apart or closer; means over the records of
an epoch estimate those over all its steps.

The paper draws the raw latent weights of the first filter at several epochs. Here are all filters of a layer, each in
units of its root mean square, at the last checkpoint, so that what is seen is no matter of one filter.
"""

import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bnn_jax.drawing import FAINT, GROUPS, INK, figure
from bnn_jax.evaluation.delivery import deliver
from bnn_jax.inspect import get
from bnn_jax.training.checkpoint import Checkpoints
from bnn_jax.training.console import table
from bnn_jax.training.run_log import read_log
from bnn_jax.training.workdir import read_config

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATIOS = {"flip_ratio": "flips", "flip_back_ratio": "flips back"}
MEMORY = "memory_"
NEAR = 0.1
WIDEST = 4.0
BINS = 81  # an odd number: the middle one lies about zero


def oscillation(workdir: Path, against: Path | None = None) -> dict[str, Any]:
    """Flip and flip-back ratios of each binary layer by epoch, and how its latent weights are distributed.

    Args:
      workdir: Folder of a run.
      against: Folder of another run of the same network, to be shown beside it.

    Returns:
      What was written to `workdir/oscillation.json`: "run", and "against" if there is one, as `describe` gives them.

    Raises:
      FileNotFoundError: If a folder is not that of a run.
      ValueError: If a run has no checkpoint or no telemetry, or the two have no layer or no epoch in common.
    """
    result = {"run": describe(workdir), **({} if against is None else {"against": describe(against)})}
    if not shared_layers(result):
        raise ValueError(f"{workdir} and {against} have no binary layer in common: compare runs of the same network")
    if not shared_epochs(result):
        raise ValueError(f"{workdir} and {against} have telemetry of no epoch in common: train both further")
    return deliver(result, workdir, "oscillation", _show, draw)


def describe(workdir: Path) -> dict[str, Any]:
    """One run's oscillation; no report is written or shown.

    Returns:
      "folder", "step" of the last checkpoint, and "layers" by name, each with "epochs", lists "flip_ratio" and
      "flip_back_ratio" of means over the records of each epoch, and "memory_NAME" of what the binarizer remembers of
      each output channel, if anything; and of the last checkpoint "near_zero", the share of latent weights below a
      tenth of their filter's root mean square, and "density" over 81 equal bins from -4 to 4 times that; weights beyond
      are counted at the ends.

    Raises:
      As `oscillation`.
    """
    every = read_config(workdir).run.telemetry_every
    records = [record for record in read_log(workdir) if record["kind"] == "telemetry"]
    if not records:
        raise ValueError(
            f"{workdir} holds no telemetry: expected a run of 3 or more steps with binary weights and a "
            f"run.telemetry_every other than 0; it is {every} there"
        )
    with closing(Checkpoints(workdir, read_only=True)) as checkpoints:
        step = checkpoints.step_of("last")
        params = checkpoints.variables(step)["params"]
    names = dict.fromkeys(name for record in records for name in record["layers"])
    try:
        kernels = {name: get(params, (*name.split("/"), "kernel")) for name in names}
    except KeyError as error:
        raise ValueError(f"{workdir}: its telemetry and its last checkpoint are of two networks: {error}") from error
    layers = {name: {**by_epoch(records, name), **distribution(w)} for name, w in kernels.items()}
    return {"folder": str(workdir), "step": step, "layers": layers}


def by_epoch(records: Sequence[dict[str, Any]], name: str) -> dict[str, list[float]]:
    """Means of a layer's ratios, and of what its binarizer remembers, over the telemetry of each epoch with any."""
    epochs: dict[int, list[dict[str, float]]] = {}
    for record in records:
        if name in record["layers"]:
            # A record after 2 epochs is of the second's last step.
            epochs.setdefault(math.ceil(record["epoch"]), []).append(record["layers"][name])
    every = [one for found in epochs.values() for one in found]
    remembered = [name for name in every[0] if name.startswith(MEMORY) and all(name in one for one in every)]
    means = {
        name: [float(np.mean([one[name] for one in found])) for found in epochs.values()]
        for name in (*RATIOS, *remembered)
    }
    return {"epochs": [float(epoch) for epoch in epochs], **means}


def distribution(w: np.ndarray) -> dict[str, Any]:
    """How a layer's latent weights (..., features) lie about zero, each in units of its filter's root mean square.

    Two heaps lie at -1 and 1 then, whatever the filters' scales are; a heap in the middle drives others apart, and
    these stay in sight.

    Returns:
      "near_zero" and "density", as `describe` says: a number, and a list of 81.
    """
    filters = np.asarray(w, np.float64).reshape(-1, np.shape(w)[-1])
    unit = np.sqrt(np.mean(np.square(filters), axis=0))
    flat = filters.ravel()
    relative = (filters / np.where(unit > 0, unit, 1.0)).ravel()
    counts, edges = np.histogram(np.clip(relative, -WIDEST, WIDEST), BINS, (-WIDEST, WIDEST))
    return {
        "near_zero": float(np.mean(np.abs(relative) < NEAR)),
        "density": (counts / flat.size / np.diff(edges)).tolist(),
    }


def last_epoch(layer: dict[str, Any]) -> dict[str, float]:
    """A layer's ratios, and what its binarizer remembers, in the last epoch that was recorded."""
    return {name: values[-1] for name, values in layer.items() if name in RATIOS or name.startswith(MEMORY)}


def shared_layers(result: dict[str, Any]) -> list[str]:
    """The layers that all runs of a result have, in order."""
    return [name for name in result["run"]["layers"] if all(name in run["layers"] for run in result.values())]


def shared_epochs(result: dict[str, Any]) -> list[float]:
    """The epochs of which all runs have records of all layers that they share, in order."""
    layers = [run["layers"][name] for run in result.values() for name in shared_layers(result)]
    return sorted(set[float].intersection(*(set(layer["epochs"]) for layer in layers)))


def _show(result: dict[str, Any]) -> None:
    runs = list(result.values())
    suffixes = [""] if len(runs) == 1 else [", run", ", against"]
    columns = [f"{what}{suffix}" for what in (*RATIOS.values(), "near zero") for suffix in suffixes]
    # One run may be further than the other: ratios fall with the learning rate.
    epoch = shared_epochs(result)[-1]
    numbers = [
        [_at(epoch, run["layers"][name], ratio) for ratio in RATIOS for run in runs]
        + [run["layers"][name]["near_zero"] for run in runs]
        for name in shared_layers(result)
    ]
    named = zip((*shared_layers(result), "mean"), (*numbers, np.mean(numbers, 0)), strict=True)
    table(
        f"Share of bits flipped by a step of epoch {epoch:g}, and of latent weights near zero at the end",
        ("layer", *columns),
        [(name, *(f"{value:.2e}" for value in row)) for name, row in named],
    )
    print(f"near zero: below {NEAR:g} of the filter's root mean square. flips back: by this step and the one before.")


def _at(epoch: float, layer: dict[str, Any], ratio: str) -> float:
    return layer[ratio][layer["epochs"].index(epoch)]


def draw(result: dict[str, Any], path: Path) -> None:
    """Draws `picture` to a file, 1500 x 900 pixels."""
    picture(result).savefig(path)


def picture(result: dict[str, Any]) -> "Figure":
    """The ratios by epoch and the latent weights of the first, the middle and the last layer that all runs share."""
    names = shared_layers(result)
    chosen = list(dict.fromkeys((names[0], names[(len(names) - 1) // 2], names[-1])))
    drawn = figure(10, 6)
    panels = drawn.subplots(2, len(chosen), squeeze=False, sharex="row")
    for (above, below), name in zip(panels.T, chosen, strict=True):
        for (who, run), style in zip(result.items(), ("-", ":"), strict=False):
            _draw_ratios(above, run["layers"][name], who, style)
            _draw_density(below, run["layers"][name], who, style)
        if any(value > 0 for run in result.values() for value in run["layers"][name]["flip_ratio"]):
            above.set_yscale("log")
        else:
            above.text(0.5, 0.5, "no flips", transform=above.transAxes, ha="center", color=INK)
            above.tick_params(labelleft=False)
        above.set(title=name, xlabel="epoch")
        below.set(xlabel="latent weight / its filter's r.m.s.")
    panels[0][0].set_ylabel("share of bits, by step")
    panels[1][0].set_ylabel("density")
    for axes in panels.ravel():
        axes.grid(axis="y", color=FAINT)
        axes.tick_params(colors=INK)
        axes.set_axisbelow(True)
        axes.legend(frameon=False, fontsize=8)
    return drawn


def _draw_ratios(axes: "Axes", layer: dict[str, Any], who: str, style: str) -> None:
    for (ratio, what), colour in zip(RATIOS.items(), GROUPS, strict=False):
        values = np.asarray(layer[ratio])
        # A logarithm has no place for a layer at rest; a point between two such has no line.
        shown = np.where(values > 0, values, np.nan)
        axes.plot(layer["epochs"], shown, style, marker=".", markersize=4, color=colour, label=f"{what}, {who}")


def _draw_density(axes: "Axes", layer: dict[str, Any], who: str, style: str) -> None:
    edges = np.linspace(-WIDEST, WIDEST, BINS + 1)
    axes.plot((edges[1:] + edges[:-1]) / 2, layer["density"], style, color=INK, label=who)
