"""Trains a binary network, or continues a run that was stopped.

    python train.py --config configs/digits/siman_digits.py --workdir runs/digits
    python train.py --config configs/cifar10/siman_resnet20.py --workdir runs/siman20 --config.epochs 100

The same command again continues the run, to the same result as one never stopped. --config.FIELD VALUE
overrides any field of the config; --dry_run shows the config, the network and the plan, and stops.

A recipe of several stages (a teacher first, say) is one config and one command: stages run in order, each in a
folder of its own inside the workdir, and those which are finished are not run again.
"""

import sys
from pathlib import Path

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from bnn_jax.config import Config
from bnn_jax.config.file import check_command_line
from bnn_jax.training import parallel
from bnn_jax.training.diagnosis import NonFiniteError
from bnn_jax.training.host_memory import keep_freed_memory
from bnn_jax.training.outcome import DataError
from bnn_jax.training.recipe import prepare

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, e.g. configs/digits/siman_digits.py.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: checkpoints, logs, results.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Show config, network and plan, and stop.")
_COORDINATOR = flags.DEFINE_string("coordinator", "", "host:port of process 0, for several processes.")
_PROCESSES = flags.DEFINE_integer("processes", 0, "Number of processes (TPU pods and clusters are detected).")
_PROCESS = flags.DEFINE_integer("process", -1, "Index of this process.")


def main(argv: list[str]) -> None:
    """Runs the experiment the flags describe."""
    if len(argv) > 1:
        sys.exit(f"train.py: unexpected arguments: {argv[1:]}. All flags: train.py --help")
    if not _DRY_RUN.value and _WORKDIR.value is None:
        sys.exit("train.py: --workdir is needed: a folder for checkpoints, logs and results (or --dry_run)")
    if not isinstance(_CONFIG.value, Config):
        found = type(_CONFIG.value).__name__
        sys.exit(f"train.py: expected a config file of a Config, found {found}; ablations: python -m bnn_jax.ablation")
    logging.set_verbosity(logging.ERROR)
    keep_freed_memory()
    parallel.initialize(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    try:
        sessions = prepare(_CONFIG.value, Path(_WORKDIR.value) if _WORKDIR.value else None, dry=_DRY_RUN.value)
        for session in () if _DRY_RUN.value else reversed(sessions):
            session.claim()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"train.py: {error}")
    signal = 0
    for session in sessions:
        session.describe(show_config=_DRY_RUN.value, elsewhere=[other.name for other in sessions])
        try:
            signal = 0 if _DRY_RUN.value else session.train()
        except (NonFiniteError, DataError) as error:
            sys.exit(f"train.py: {error}")
        if signal:
            if session is not sessions[-1] and jax.process_index() == 0:
                print("Stopped by a signal: stages are left to be run. The same command continues.")
            break
        parallel.barrier(f"end of {session.name}")
    # The shell's convention for a program which a signal ended.
    sys.exit(128 + signal if signal else 0)


if __name__ == "__main__":
    try:
        check_command_line(sys.argv[1:])
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"train.py: {error}")
    flags.mark_flag_as_required("config")
    try:
        app.run(main)
    except KeyboardInterrupt:
        sys.exit(130)  # before there was anything to save
