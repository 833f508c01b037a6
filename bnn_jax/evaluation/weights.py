"""How latent weights are distributed, before training and after: a table, a picture and a JSON file."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from bnn_jax.binarizers import WeightBinarizer
from bnn_jax.binarizers.measures import bit_entropy
from bnn_jax.config import Config
from bnn_jax.drawing import FAINT, INK, TRAIN, figure
from bnn_jax.evaluation.delivery import deliver
from bnn_jax.evaluation.runs import load
from bnn_jax.inspect import Path as LayerPath
from bnn_jax.inspect import get, operands
from bnn_jax.regularizers import KurtosisTerm, weight_kurtosis
from bnn_jax.training.console import table
from bnn_jax.training.state import TrainState, without_losses

BINS = np.linspace(-4, 4, 81)  # standard deviations from the mean
WHEN = ("before", "after")


def weights(workdir: Path, data: str = "", checkpoint: str = "best") -> dict[str, Any]:
    """Kurtosis, quantization error and entropy of the weights of each convolution and binary layer, and histograms.

    Beside what the run started from.

    Args:
      workdir: Folder of a run.
      data: Where its data lies now, if it was moved.
      checkpoint: "best" or "last".

    Returns:
      What was written to `workdir/weights.json`: for each layer "binary" (whether it is binarized), "target" (of its
      kurtosis, if a term of the loss has one), and "before" and "after": "kurtosis" (3 for normal, 1.8 for uniform
      weights, 1 for two heaps), "error" (|w - s sign(w)|^2 / |w|^2 with the best scale s of each output channel),
      "binarized error" (the same of what the layer multiplies with; binary layers only), "entropy" (bit per
      weight of the code, or the sign) and "histogram" (shares of weights between -4 and 4 standard deviations from
      their mean, in bins with the edges of "histogram edges"). "before" is absent where weights came from a run that
      is gone; "without before" says so.

    Raises:
      FileNotFoundError: If `workdir` is not the folder of a run, or its data is not there.
      ValueError: If there is no checkpoint, or it does not fit.
    """
    result = describe(workdir, checkpoint, data)
    return deliver(result, workdir, "weights", _show, partial(draw, title=str(workdir)))


def describe(workdir: Path, checkpoint: str, data: str = "") -> dict[str, Any]:
    """What `weights` finds out, of the "best" or "last" checkpoint; nothing is written or shown.

    Args, result and errors as `weights`.
    """
    experiment, state = load(workdir, checkpoint, data)
    states, gone = {"after": state}, {}
    try:
        # Whatever became of a teacher's folder.
        states = {"before": experiment.start_state(workdir, taught=False), **states}
    except FileNotFoundError as error:
        gone = {"without before": str(error)}
    targets = _targets(experiment.config, state)
    layers = [one for one in experiment.traced if one.kernel_shape and (one.weights or len(one.kernel_shape) > 2)]
    found = []
    for layer in layers:
        row: dict[str, Any] = {"layer": layer.name, "binary": layer.weights is not None}
        row["target"] = targets.get(f"{layer.name}/kernel")
        row |= {when: _measure(one, layer.path, layer.weights) for when, one in states.items()}
        found.append(row)
    edges = np.round(BINS, 6).tolist()
    return {"checkpoint": checkpoint, "step": int(state.step), **gone, "histogram edges": edges, "layers": found}


def _targets(config: Config, state: TrainState) -> dict[str, float]:
    """The kurtosis that a term of the loss draws each weight to, by its path."""
    terms = [loss.term.build() for loss in config.losses if loss.weight]
    params = without_losses(state.params)
    shaping = [term for term in terms if isinstance(term, KurtosisTerm)]
    return {path: value for term in shaping for path, value in term.targets(params).items()}


def _measure(state: TrainState, path: LayerPath, binarizer: WeightBinarizer | None) -> dict[str, Any]:
    kernel = jnp.asarray(get(state.params, (*path, "kernel")), jnp.float32)
    best = jnp.mean(jnp.abs(kernel), axis=tuple(range(kernel.ndim - 1)), keepdims=True)
    signs = jnp.where(kernel >= 0, 1.0, -1.0)
    measured = {"kurtosis": float(weight_kurtosis(kernel)), "error": quantization_error(kernel, best * signs)}
    code = signs
    if binarizer is not None:
        own = operands(state.params, state.memory, path, binarizer)
        binary, _ = binarizer.quantize(*own, train=False, progress=1.0)
        code, measured["binarized error"] = binary.code, quantization_error(kernel, binary.weight)
    flat = np.asarray(kernel).ravel()
    spread = flat.std() or 1.0
    counts, _ = np.histogram((flat - flat.mean()) / spread, BINS)
    return {**measured, "entropy": float(bit_entropy(code)), "histogram": (counts / flat.size).tolist()}


def quantization_error(w: Array, w_b: Array) -> float:
    """|w - w_b|^2 / |w|^2, what binarizing loses of a weight.

    Args:
      w: Latent weight, any shape, float32.
      w_b: What it becomes, same shape, floating point.

    Returns:
      0 or more, computed in float32; |w_b|^2 if `w` is zero.
    """
    size = float(jnp.sum(jnp.square(w)))
    return float(jnp.sum(jnp.square(w - w_b.astype(jnp.float32)))) / (size or 1.0)


def _show(result: dict[str, Any]) -> None:
    if "without before" in result:
        print(f"Without the weights before training: {result['without before']}")

    def pair(row: dict[str, Any], name: str, form: str) -> str:
        return " -> ".join(format(row[when][name], form) for when in WHEN if when in row)

    columns = ("layer", "bits", "target", "kurtosis", "|w - s sign w|^2/|w|^2", "entropy")
    rows = [
        (
            row["layer"],
            1 if row["binary"] else 32,
            "-" if row["target"] is None else f"{row['target']:g}",
            pair(row, "kurtosis", ".3f"),
            pair(row, "error", ".4f"),
            pair(row, "entropy", ".4f"),
        )
        for row in result["layers"]
    ]
    when = f"{result['checkpoint']} checkpoint, step {result['step']:,}"
    table(f"Latent weights, before -> after training ({when})", columns, rows)
    print("kurtosis: 3 for normal, 1.8 for uniform weights, 1 for two heaps; entropy: bit per weight.")


def draw(result: dict[str, Any], path: Path, title: str) -> None:
    """Draws a histogram of each layer's weights, before and after, five in a row."""
    layers, columns = result["layers"], min(5, len(result["layers"]))
    rows = math.ceil(len(layers) / columns)
    picture = figure(2.6 * columns, 1.7 * rows + 0.5)
    panels = picture.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
    for i, (panel, row) in enumerate(zip(panels, layers, strict=False)):
        panel.set_axis_on()
        # Also where the last row is not full.
        panel.tick_params(labelbottom=i + columns >= len(layers))
        if "before" in row:
            panel.stairs(row["before"]["histogram"], BINS, color=INK, linewidth=0.8, alpha=0.6)
        panel.stairs(row["after"]["histogram"], BINS, fill=True, color=TRAIN)
        panel.set_title(f"{row['layer']}\n{_caption(row)}", fontsize=7, color=INK)
        panel.set_yticks([])
        panel.tick_params(colors=INK, labelsize=6)
        panel.grid(axis="x", color=FAINT, linewidth=0.5)
        panel.set_axisbelow(True)
    picture.suptitle(f"{title}, latent weights after step {result['step']}", fontsize=9, color=INK)
    picture.supxlabel("standard deviations from the mean; line: where this run began", fontsize=8, color=INK)
    picture.savefig(path)


def _caption(row: dict[str, Any]) -> str:
    target = "" if row["target"] is None else f", target {row['target']:g}"
    bits = "" if row["binary"] else ", 32 bits"
    return f"kurtosis {row['after']['kurtosis']:.2f}{target}{bits}"
