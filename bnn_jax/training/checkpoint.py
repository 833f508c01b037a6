"""Checkpoints of a run: the latest and the best, each with everything that resuming needs."""

import os
import shutil
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.tree_util import keystr, tree_leaves_with_path
from orbax.checkpoint import v1 as ocp

from bnn_jax.training import parallel
from bnn_jax.training.state import TrainState
from bnn_jax.training.workdir import CONFIG

FOLDER = "checkpoints"
# Beside it: what is about to be replaced, for Orbax deletes it before it writes.
SPARE = "checkpoints_replaced"
CHECKPOINTS = ("best", "last")


@dataclass
class Bookkeeping:
    """What the loop knows beside the state; plain JSON.

    Attributes:
      sums: Sums over the steps since the last report, by metric.
      count: How many steps they are over.
      best_accuracy: Best test accuracy so far, in [0, 1]; -1 before the first evaluation.
      best_epoch: Epochs that were finished when it was reached.
      iterator: State of the data iterator.
      telemetry: State of the telemetry.
      examples: Training examples there are; 0 in checkpoints from before this was kept.
    """

    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0
    best_accuracy: float = -1.0
    best_epoch: int = 0
    iterator: dict[str, Any] = field(default_factory=dict)
    telemetry: dict[str, Any] = field(default_factory=dict)
    examples: int = 0


class Checkpoints:
    """The checkpoints of one workdir. Writing is atomic: a killed run leaves the one before intact."""

    def __init__(self, workdir: str | Path, *, read_only: bool = False):
        """Opens (or creates) `workdir/checkpoints`; to write, on all processes of a run together."""
        self._folder, self._spare = (Path(workdir).resolve() / name for name in (FOLDER, SPARE))
        if not read_only:
            if jax.process_index() == 0:
                self._put_back()
            parallel.barrier("checkpoints are put back")
        policies = ocp.training.preservation_policies
        best = policies.BestN(get_metric_fn=_rank, n=1, keep_checkpoints_without_metrics=False)
        self._checkpointer = ocp.training.Checkpointer(
            self._folder,
            preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(1), best]),
            cleanup_tmp_directories=not read_only,
        )

    @property
    def latest_step(self) -> int | None:
        """Step of the latest checkpoint; None if there is none."""
        return self._checkpointer.latest.step if self._checkpointer.latest else None

    @property
    def best_step(self) -> int | None:
        """Step of the checkpoint with the best test accuracy (the first, among equals)."""
        ranked = [c for c in self._checkpointer.checkpoints if c.metrics]
        return max(ranked, key=lambda c: _rank(c.metrics)).step if ranked else None

    def step_of(self, which: str) -> int:
        """Step of the "best" checkpoint (the last, where none was measured) or of the "last".

        Raises:
          ValueError: If there is no checkpoint, or it is asked for by another name.
        """
        if which not in CHECKPOINTS:
            raise ValueError(f"expected one of {CHECKPOINTS}, found {which!r}")
        step = self.best_step if which == "best" else None
        step = self.latest_step if step is None else step
        if step is None:
            folder = Path(self._checkpointer.directory).parent
            raise ValueError(f"{folder} holds no checkpoint yet: train.py saves them as it trains")
        return step

    def save(self, state: TrainState, books: Bookkeeping, accuracy: float | None = None) -> None:
        """Saves, unless this step is saved already, and nothing was measured since.

        Args:
          state: Replicated or host-side state.
          books: The loop's bookkeeping.
          accuracy: Test accuracy of this state, in [0, 1], if it was measured.
        """
        # Host-local pmap arrays cannot be serialized on several hosts.
        host = jax.device_get(state)
        step = int(host.step)
        again = step == self.latest_step
        if again and (accuracy is None or self._checkpointer.latest.metrics):
            return
        metrics = None if accuracy is None else {"accuracy": accuracy, "step": step}
        content = {"state": jax.tree.map(np.asarray, host), "books": asdict(books)}
        first = jax.process_index() == 0
        if again and first:
            shutil.copytree(self._folder / str(step), self._spare / str(step), copy_function=_link)
        self._checkpointer.save_checkpointables(step, content, overwrite=again, metrics=metrics)
        if again and first:
            shutil.rmtree(self._spare)

    def _put_back(self) -> None:
        """What a process was killed over replacing."""
        for kept in self._spare.iterdir() if self._spare.is_dir() else ():
            # A checkpoint is there or not: Orbax names its folder when it is whole.
            if not (self._folder / kept.name).exists():
                self._folder.mkdir(exist_ok=True)
                kept.rename(self._folder / kept.name)
        shutil.rmtree(self._spare, ignore_errors=True)

    def restore(self, like: TrainState, step: int | None = None) -> tuple[TrainState, Bookkeeping]:
        """Loads a checkpoint to the host.

        Args:
          like: A state of the same structure (arrays or their shapes).
          step: Which; the latest if None.

        Raises:
          ValueError: If what is stored has another structure than `like`.
        """
        abstract = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), like)
        try:
            found = self._checkpointer.load_checkpointables(step, {"state": abstract, "books": None})
            # Orbax gives NumPy arrays back in the shape they have, whatever was asked for.
            for (path, a), b in zip(tree_leaves_with_path(found["state"]), jax.tree.leaves(abstract), strict=True):
                if a.shape != b.shape:
                    raise ValueError(f"{keystr(path)} has shape {a.shape} there, {b.shape} here")
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"checkpoint {step if step is not None else self.latest_step} in {self._checkpointer.directory} does "
                f"not fit this network: {error}"
            ) from error
        return found["state"], Bookkeeping(**found["books"])

    def variables(self, step: int) -> dict[str, Any]:
        """The network's variables of a checkpoint, on the host, in whatever structure they have."""
        state = self._checkpointer.load_checkpointables(step, {"state": None})["state"]
        return {name: state[name] or {} for name in ("params", "batch_stats", "memory")}

    def close(self) -> None:
        """Waits for writes in flight and lets go of the directory."""
        self._checkpointer.close()


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # not every file system has links
        shutil.copy2(source, target)


def _rank(metrics: Any) -> tuple[float, int]:
    return (metrics["accuracy"], -metrics["step"])


def latest_step(workdir: Path | None) -> int:
    """Steps the run in a folder has taken and saved; 0 where there is none."""
    if workdir is None or not (workdir / CONFIG).exists():
        return 0
    with closing(Checkpoints(workdir, read_only=True)) as checkpoints:
        return checkpoints.latest_step or 0
