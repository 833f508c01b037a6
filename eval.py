"""Evaluates the best and the last checkpoint of a run on its test set.

    python eval.py --workdir runs/digits
    python eval.py --workdir runs/lcr20 --report lipschitz
    python eval.py --workdir runs/rebnn20 --report oscillation --against runs/reactnet20

Prints a table and writes eval.json into the workdir; a report writes its own JSON file, and a picture.
"""

import sys
from pathlib import Path

from absl import app, flags, logging

from bnn_jax.evaluation import oscillation, report, spectral, weights
from bnn_jax.training import parallel

REPORTS = {
    "accuracy": report.classification,
    "lipschitz": spectral.lipschitz,
    "oscillation": oscillation.oscillation,
    "weights": weights.weights,
}
COMPARING = ("oscillation",)

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run made by train.py.", required=True)
_REPORT = flags.DEFINE_enum("report", "accuracy", list(REPORTS), "What to find out about it.")
_AGAINST = flags.DEFINE_string("against", "", f"Folder of another run to compare with ({', '.join(COMPARING)}).")
_DATA = flags.DEFINE_string("data_directory", "", "Where the data lies now, if it was moved since training.")
_COORDINATOR = flags.DEFINE_string("coordinator", "", "host:port of process 0, for several processes.")
_PROCESSES = flags.DEFINE_integer("processes", 0, "Number of processes (TPU pods and clusters are detected).")
_PROCESS = flags.DEFINE_integer("process", -1, "Index of this process.")


def main(argv: list[str]) -> None:
    """Evaluates the run the flags name."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    if _AGAINST.value and _REPORT.value not in COMPARING:
        raise app.UsageError(f"--against is for --report {' or '.join(COMPARING)}, found {_REPORT.value!r}")
    logging.set_verbosity(logging.ERROR)
    parallel.initialize(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    options = {"against": Path(_AGAINST.value)} if _AGAINST.value else {}
    try:
        REPORTS[_REPORT.value](Path(_WORKDIR.value), _DATA.value, **options)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"eval.py: {error}")


if __name__ == "__main__":
    app.run(main)
