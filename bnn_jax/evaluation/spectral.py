"""How far a binary network's spectral norms are from its teacher's: a table, a picture and a JSON file."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from bnn_jax.data import normalize
from bnn_jax.drawing import FAINT, GROUPS, INK, figure
from bnn_jax.evaluation.delivery import deliver
from bnn_jax.evaluation.runs import load
from bnn_jax.regularizers import exact_norm, power_iteration_norm, retention_matrix
from bnn_jax.training.console import table
from bnn_jax.training.experiment import Experiment
from bnn_jax.training.state import LOSSES

ITERATIONS = (1, 2, 3, 5, 10)
IMAGES = 500


def lipschitz(workdir: Path, data: str = "") -> dict[str, Any]:
    """Spectral norms of the retention matrices between a network's stages, approximated and exact.

    Of the best checkpoint, over 500 test images, spread evenly over the set; beside them the teacher's, if the run
    has one.

    Args:
      workdir: Folder of a run.
      data: Where its data lies now, if it was moved.

    Returns:
      What was written to `workdir/lipschitz.json`: for each pair of consecutive stages the mean norms of the
      network and of the teacher, "exact" and after 1, 2, 3, 5 and 10 power iterations, the mean absolute
      "gap" between the two exact ones, and the network's relative "error" after each number of iterations.
      Where the loss learned scales of the stages, "factor" is what they multiply the network's norm with, and
      "scaled gap" what the loss saw.

    Raises:
      FileNotFoundError: If `workdir` is not the folder of a run, or its data is not there.
      ValueError: If there is no checkpoint, or the network has fewer than two stages.
    """
    result = compare(workdir, "best", data)
    return deliver(result, workdir, "lipschitz", _show, draw)


def compare(workdir: Path, checkpoint: str, data: str = "") -> dict[str, Any]:
    """What `lipschitz` finds out, of the "best" or "last" checkpoint; nothing is written or shown.

    Args, result and errors as `lipschitz`.
    """
    experiment, state = load(workdir, checkpoint, data)
    images = normalized(experiment)
    binary = _norms(experiment.model, state.variables, images)
    teacher = None
    if experiment.teacher is not None:
        teacher = _norms(experiment.teacher, state.teacher, images)
    scales = _learned_scales(state.params, len(binary) + 1)
    pairs = []
    for i, (name, norms) in enumerate(binary.items()):
        factor = None if scales is None else float(abs(scales[i] * scales[i + 1]))
        pairs.append({"pair": name, **_describe(norms, None if teacher is None else teacher.get(name), factor)})
    return {"images": len(images), "step": int(state.step), "pairs": pairs}


def _learned_scales(params: Any, stages: int) -> np.ndarray | None:
    """What a term of the loss learned as scales of all stages, if one did."""
    for learned in params.get(LOSSES, {}).values():
        if np.shape(learned.get("scales")) == (stages,):
            return np.asarray(learned["scales"])
    return None


def normalized(experiment: Experiment) -> Array:
    """Some test images as the network takes them, evenly spaced: a set may lie in the order of its classes."""
    info, test = experiment.splits.info, experiment.splits.test
    images = np.stack([test[int(i)]["image"] for i in np.linspace(0, len(test) - 1, min(IMAGES, len(test)))])
    return normalize(jax.numpy.asarray(images), info.mean, info.std)


def _norms(model: Any, variables: Any, images: Array) -> dict[str, dict[str, np.ndarray]]:
    """For each pair of consecutive stages, each way to compute its norms: (images,)."""

    @jax.jit
    def stages_of(variables: Any, images: Array) -> dict[str, Array]:
        _, features = model.apply(variables, images, train=False, progress=1.0)
        return {name: value for name, value in features.items() if name.startswith("stage")}

    parts = [stages_of(variables, images[i : i + 100]) for i in range(0, len(images), 100)]
    stages = {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in sorted(parts[0])}
    if len(stages) < 2:
        raise ValueError(f"a pair of stages is needed, and the network has the stages {sorted(stages)}")
    names = list(stages)
    return {f"{a} to {b}": jax.device_get(_ways(stages[a], stages[b])) for a, b in pairwise(names)}


@jax.jit
def _ways(a: Array, b: Array) -> dict[str, Array]:
    matrix = retention_matrix(a, b)
    return {**{str(n): power_iteration_norm(matrix, n) for n in ITERATIONS}, "exact": exact_norm(matrix)}


def _describe(
    norms: dict[str, np.ndarray], teacher: dict[str, np.ndarray] | None, factor: float | None = None
) -> dict[str, Any]:
    exact = np.maximum(norms["exact"], np.finfo(np.float32).tiny)
    described: dict[str, Any] = {
        "network": {way: float(values.mean()) for way, values in norms.items()},
        "error": {way: float((np.abs(values - norms["exact"]) / exact).mean()) for way, values in norms.items()},
    }
    if teacher is not None:
        described["teacher"] = {way: float(values.mean()) for way, values in teacher.items()}
        described["gap"] = float(np.abs(norms["exact"] - teacher["exact"]).mean())
    if factor is not None:
        described["factor"] = factor
        if teacher is not None:
            described["scaled gap"] = float(np.abs(factor * norms["exact"] - teacher["exact"]).mean())
    return described


def _show(result: dict[str, Any]) -> None:
    ways = [str(n) for n in ITERATIONS]
    columns = (
        "stages",
        "network, exact",
        "teacher, exact",
        "gap",
        "scaled gap",
        *(f"error, n = {way}" for way in ways),
    )
    rows = [
        (
            pair["pair"],
            f"{pair['network']['exact']:.4g}",
            f"{pair['teacher']['exact']:.4g}" if "teacher" in pair else "-",
            *(f"{pair[gap]:.4g}" if gap in pair else "-" for gap in ("gap", "scaled gap")),
            *(f"{pair['error'][way]:.2%}" for way in ways),
        )
        for pair in result["pairs"]
    ]
    table(f"Spectral norms of retention matrices, mean over {result['images']} test images", columns, rows)
    print("error, n: of n iterations from a vector of ones. One alone may exceed the norm, as a plain sum does.")


def draw(result: dict[str, Any], path: Path) -> None:
    """Draws the norms of network and teacher, and how well power iteration finds them, 1500 x 600 pixels."""
    picture = figure(10, 4)
    bars, errors = picture.subplots(1, 2)
    pairs: Sequence[dict[str, Any]] = result["pairs"]
    place = np.arange(len(pairs))
    for i, (who, colour) in enumerate(zip(("network", "teacher"), GROUPS, strict=False)):
        heights = [pair[who]["exact"] for pair in pairs if who in pair]
        if heights:
            bars.bar(place + 0.4 * i - 0.2, heights, 0.38, color=colour, label=who)
    bars.set_xticks(place, [pair["pair"] for pair in pairs])
    if any(pair["network"]["exact"] > 0 for pair in pairs):
        bars.set_yscale("log")
    bars.set(title="Largest singular value, exact")
    bars.legend(frameon=False)
    for pair in pairs:
        errors.plot(ITERATIONS, [100 * pair["error"][str(n)] for n in ITERATIONS], marker="o", label=pair["pair"])
    errors.set(title="Error of power iteration, %", xlabel="iterations", yscale="symlog")
    errors.legend(frameon=False)
    for axes in (bars, errors):
        axes.grid(axis="y", color=FAINT)
        axes.tick_params(colors=INK)
        axes.set_axisbelow(True)
    picture.savefig(path)
