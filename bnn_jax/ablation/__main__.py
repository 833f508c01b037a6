"""Runs an ablation, or continues one that was stopped.

    python -m bnn_jax.ablation --config configs/ablations/lcr_alpha.py --workdir runs/ablation_lcr

The same command again continues; runs that are finished are not run again. --config.base.FIELD VALUE overrides a
field of the experiment that the variants differ from; --dry_run shows it, all runs and how far they are, and stops.
Runs are on all devices of one host, one after the other. Each is a usual run, for eval.py too.
"""

import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from bnn_jax.ablation import Ablation, runner
from bnn_jax.ablation.plan import plan
from bnn_jax.config.file import check_command_line
from bnn_jax.training.diagnosis import NonFiniteError
from bnn_jax.training.host_memory import keep_freed_memory

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, e.g. configs/ablations/lcr_alpha.py.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the ablation: runs, table, picture.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Show the runs and how far they are, and stop.")


def main(argv: list[str]) -> None:
    """Runs the ablation the flags describe."""
    if len(argv) > 1:
        sys.exit(f"ablation: unexpected arguments: {argv[1:]}. All flags: --help")
    logging.set_verbosity(logging.ERROR)
    keep_freed_memory()
    if not _DRY_RUN.value and _WORKDIR.value is None:
        sys.exit("ablation: --workdir is needed: a folder for all runs, table and picture (or --dry_run)")
    ablation, workdir = _CONFIG.value, Path(_WORKDIR.value or "WORKDIR")
    if not isinstance(ablation, Ablation):
        found = type(ablation).__name__
        sys.exit(f"ablation: expected a config file of an Ablation, found {found}; experiments: python train.py")
    signal = 0
    try:
        planned = plan(ablation, workdir)
        runner.check(ablation, planned, workdir, dry=_DRY_RUN.value)
        runner.describe(ablation, planned, show_config=_DRY_RUN.value)
        if not _DRY_RUN.value:
            signal = runner.run(ablation, planned, workdir)
    except (ValueError, FileNotFoundError, NonFiniteError) as error:
        sys.exit(f"ablation: {error}")
    except KeyboardInterrupt:
        # Between two runs: what the next call goes on from is whole at any moment.
        sys.exit(130)
    if signal:
        print(f"Ablation stopped by signal {signal}; the same command continues.")
    # The shell's convention for a program which a signal ended.
    sys.exit(128 + signal if signal else 0)


if __name__ == "__main__":
    try:
        check_command_line(sys.argv[1:])
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"ablation: {error}")
    flags.mark_flag_as_required("config")
    app.run(main)
