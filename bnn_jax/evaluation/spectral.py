"""How far a binary network's spectral norms are from its teacher's, and how well power iteration finds them."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from bnn_jax.data import normalize
from bnn_jax.evaluation.delivery import deliver
from bnn_jax.evaluation.runs import load
from bnn_jax.evaluation.spectral_view import ITERATIONS, draw, show
from bnn_jax.regularizers import exact_norm, power_iteration_norm, retention_matrix
from bnn_jax.training.experiment import Experiment
from bnn_jax.training.state import LOSSES

IMAGES = 500


def lipschitz(workdir: Path, data: str = "", checkpoint: str = "best") -> dict[str, Any]:
    """Spectral norms of the retention matrices between a network's stages, approximated and exact.

    Over 500 test images, spread evenly over the set; beside them the teacher's, if the run has one.

    Args:
      workdir: Folder of a run.
      data: Where its data lies now, if it was moved.
      checkpoint: "best" or "last".

    Returns:
      What was written to `workdir/lipschitz.json`: for each pair of consecutive stages the mean norms of the
      "network" and of the "teacher", "exact" and after 1, 2, 3, 5 and 10 power iterations, their mean relative "error"
      and "teacher error" after each number of iterations, and the mean absolute "gap" between the two exact norms.
      Where the loss learned scales of the stages, "factor" is what they multiply the network's norm with, and
      "scaled gap" the gap after that.

    Raises:
      FileNotFoundError: If `workdir` is not the folder of a run, or its data is not there.
      ValueError: If there is no checkpoint, or the network has fewer than two stages.
    """
    result = compare(workdir, checkpoint, data)
    return deliver(result, workdir, "lipschitz", show, draw)


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
    return {"images": len(images), "checkpoint": checkpoint, "step": int(state.step), "pairs": pairs}


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
    described: dict[str, Any] = {"network": _means(norms), "error": _errors(norms)}
    if teacher is not None:
        described |= {"teacher": _means(teacher), "teacher error": _errors(teacher)}
        described["gap"] = float(np.abs(norms["exact"] - teacher["exact"]).mean())
    if factor is not None:
        described["factor"] = factor
        if teacher is not None:
            described["scaled gap"] = float(np.abs(factor * norms["exact"] - teacher["exact"]).mean())
    return described


def _means(norms: dict[str, np.ndarray]) -> dict[str, float]:
    return {way: float(values.mean()) for way, values in norms.items()}


def _errors(norms: dict[str, np.ndarray]) -> dict[str, float]:
    exact = np.maximum(norms["exact"], np.finfo(np.float32).tiny)
    return {way: float((np.abs(values - norms["exact"]) / exact).mean()) for way, values in norms.items()}
