"""Evaluating a finished (or stopped) run: a table on the screen and a JSON file."""

from pathlib import Path
from typing import Any

import jax

from bnn_jax.evaluation.runs import reopen
from bnn_jax.training import parallel
from bnn_jax.training.accuracy import measure
from bnn_jax.training.checkpoint import Checkpoints
from bnn_jax.training.console import table
from bnn_jax.training.workdir import write_json


def classification(workdir: Path, data: str = "") -> dict[str, Any]:
    """Evaluates the best and the last checkpoint of a run on the whole test set.

    Args:
      workdir: Folder of the run.
      data: Where its data lies now, if it was moved.

    Returns:
      What was written to `workdir/eval.json`: for "best" and "last" the step, the epoch, top-1 and top-5
      accuracy in [0, 1], mean cross-entropy, and exact counts.

    Raises:
      FileNotFoundError: If `workdir` is not the folder of a run, or its data is not there.
      ValueError: If there is no checkpoint, or it does not fit.
    """
    experiment = reopen(workdir, data)
    checkpoints = Checkpoints(workdir, read_only=True)
    chosen = {"best": checkpoints.best_step, "last": checkpoints.step_of("last")}
    results, seen = {}, dict[int, Any]()
    for name, step in chosen.items():
        if step is None:
            continue
        if step not in seen:
            state, _ = checkpoints.restore(experiment.abstract_state(), step)
            seen[step] = measure(experiment, parallel.replicate(state.variables))
        results[name] = {"step": step, "epoch": step / experiment.steps_per_epoch, **seen[step]._asdict()}
    if jax.process_index() == 0:
        info = experiment.splits.info
        write_json(workdir / "eval.json", {"dataset": info.name, "split": "test", **results})
        _show(results, f"{info.name}, test set")
    checkpoints.close()
    return results


def _show(results: dict[str, Any], title: str) -> None:
    columns = ("checkpoint", "epoch", "step", "top-1 %", "top-5 %", "loss", "right", "of")
    rows = [
        (
            name,
            f"{r['epoch']:g}",
            r["step"],
            f"{100 * r['top1']:.2f}",
            f"{100 * r['top5']:.2f}",
            f"{r['loss']:.4f}",
            r["correct"],
            r["examples"],
        )
        for name, r in results.items()
    ]
    table(title, columns, rows)
