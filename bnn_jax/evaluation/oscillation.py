"""How much the weights of a binary network oscillate while it trains: a table, a picture and a JSON file.

Of a layer, in the step from t to t + 1, with codes b:

    flip ratio         mean[b_t != b_(t+1)]
    flip-back ratio    mean[b_(t-1) != b_t and b_t != b_(t+1)]        (a flip that is undone at once)

A run's telemetry holds both for single steps, `run.telemetry_every` steps apart or closer; means over the records of
an epoch estimate those over all its steps.

The paper draws the raw latent weights of the first filter at several epochs. Here are all filters of a layer, each in
units of its root mean square, at the last checkpoint, so that what is seen is no matter of one filter.
"""

import json
import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from bnn_jax.evaluation.delivery import deliver
from bnn_jax.evaluation.oscillation_view import (
    BINS,
    NEAR,
    RATIOS,
    WIDEST,
    draw,
    shared_epochs,
    shared_layers,
    show,
)
from bnn_jax.inspect import get
from bnn_jax.training.checkpoint import Checkpoints
from bnn_jax.training.run_log import read_log
from bnn_jax.training.telemetry import MEMORY
from bnn_jax.training.workdir import read_config


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
    return deliver(result, workdir, "oscillation", show, draw)


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
    log = read_log(workdir)
    records = [record for record in log if record["kind"] == "telemetry"]
    if not records:
        raise ValueError(f"{workdir} holds no telemetry: {_why_none(workdir, log, every)}")
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


def _why_none(workdir: Path, log: Sequence[dict[str, Any]], every: int) -> str:
    summary = workdir / "summary.json"
    if summary.is_file() and not json.loads(summary.read_text())["totals"]["binary_params"]:
        return "its network has no binary weights. Of a recipe, take the folder of a stage that has some"
    if not every:
        return "run.telemetry_every is 0 there. Train with 3 or more (another config, so in another workdir)"
    steps = max((record["step"] for record in log), default=0)
    return (
        f"no record was due yet. They come every {every} steps, or every epoch of three or more steps if that is "
        f"shorter, and its log ends at step {steps}. Train it further"
    )


def by_epoch(records: Sequence[dict[str, Any]], name: str) -> dict[str, list[float]]:
    """Means of a layer's ratios, and of what its binarizer remembers, over the telemetry of each epoch with any."""
    epochs: dict[int, list[dict[str, float]]] = {}
    for record in records:
        if name in record["layers"]:
            # A record after 2 epochs is of the second's last step.
            epochs.setdefault(math.ceil(record["epoch"]), []).append(record["layers"][name])
    every = [one for found in epochs.values() for one in found]
    remembered = [
        measure for measure in every[0] if measure.startswith(MEMORY) and all(measure in one for one in every)
    ]
    means = {
        measure: [float(np.mean([one[measure] for one in found])) for found in epochs.values()]
        for measure in (*RATIOS, *remembered)
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
