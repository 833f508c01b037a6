"""A finished (or stopped) run, read from its folder."""

from contextlib import closing
from pathlib import Path

from bnn_jax.training.assembly import assemble
from bnn_jax.training.checkpoint import Checkpoints
from bnn_jax.training.examples import Opener, open_splits
from bnn_jax.training.experiment import Experiment
from bnn_jax.training.state import TrainState
from bnn_jax.training.workdir import read_config


def reopen(workdir: Path, data: str = "", find: Opener = open_splits) -> Experiment:
    """What was run in `workdir`.

    Args:
      workdir: Folder of a run.
      data: Where its data lies now, if that is not where it lay in training.
      find: Opens it.

    Raises:
      FileNotFoundError: If `workdir` is not the folder of a run, or its data is not there.
      ValueError: If its data comes from no directory.
    """
    config = read_config(workdir)
    if data:
        if not hasattr(config.data.source, "directory"):
            raise ValueError(f"the data of {workdir} comes from no directory: leave --data_directory out")
        config.data.source.directory = data
    return assemble(config, find)


def load(workdir: Path, checkpoint: str, data: str = "", find: Opener = open_splits) -> tuple[Experiment, TrainState]:
    """The run in `workdir`, and its state at the "best" or "last" checkpoint, on the host.

    Args and errors as `reopen`, and:

    Raises:
      ValueError: If there is no checkpoint, or it does not fit.
    """
    experiment = reopen(workdir, data, find)
    with closing(Checkpoints(workdir, read_only=True)) as checkpoints:
        state, _ = checkpoints.restore(experiment.abstract_state(), checkpoints.step_of(checkpoint))
    return experiment, state
