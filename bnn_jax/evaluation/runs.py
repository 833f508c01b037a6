"""A finished (or stopped) run, read from its folder."""

from pathlib import Path
from typing import NamedTuple

from bnn_jax.training.checkpoint import Checkpoints
from bnn_jax.training.experiment import Experiment, assemble
from bnn_jax.training.state import TrainState
from bnn_jax.training.workdir import read_config


class Loaded(NamedTuple):
    """A run at one of its checkpoints.

    Attributes:
      experiment: What was run.
      state: The state, on the host.
      step: Of the checkpoint.
    """

    experiment: Experiment
    state: TrainState
    step: int


def reopen(workdir: Path, data: str = "") -> Experiment:
    """What was run in `workdir`.

    Args:
      workdir: Folder of a run.
      data: Where its data lies now, if that is not where it lay in training.

    Raises:
      FileNotFoundError: If `workdir` is not the folder of a run, or its data is not there.
      ValueError: If its data comes from no directory.
    """
    config = read_config(workdir)
    if data:
        if not hasattr(config.data.source, "directory"):
            raise ValueError(f"the data of {workdir} comes from no directory: leave --data_directory out")
        config.data.source.directory = data
    return assemble(config, workdir)


def load(workdir: Path, checkpoint: str, data: str = "") -> Loaded:
    """The run in `workdir` at its "best" or "last" checkpoint (the last also where none was measured).

    Args and errors as `reopen`, and:

    Raises:
      ValueError: If there is no checkpoint, or it does not fit.
    """
    experiment = reopen(workdir, data)
    checkpoints = Checkpoints(workdir, read_only=True)
    try:
        best = checkpoints.best_step if checkpoint == "best" else None
        step = checkpoints.latest_step if best is None else best
        if step is None:
            raise ValueError(f"{workdir} holds no checkpoint yet: train.py saves one after each epoch")
        state, _ = checkpoints.restore(experiment.abstract_state(), step)
    finally:
        checkpoints.close()
    return Loaded(experiment, state, step)
