"""Evaluates the best and the last checkpoint of a run on its test set, or finds out something else about it.

    python eval.py --workdir runs/digits
    python eval.py --workdir runs/lcr20 --report lipschitz
    python eval.py --workdir runs/rebnn20 --report oscillation --against runs/reactnet20
    python eval.py --workdir runs/lcr20 --suite corruptions
    python eval.py --workdir runs/lcr20 --suite cifar10_c --data ~/data/CIFAR-10-C
    python eval.py --compare runs/irnet20 runs/lcr20 --suite corruptions

Prints a table and writes eval.json into the workdir; a report or a suite writes its own JSON file, and a picture.
"""

import signal
import sys
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from bnn_jax.evaluation import oscillation, report, spectral, weights
from bnn_jax.evaluation.corruptions import ALL
from bnn_jax.evaluation.robustness.compare import compare
from bnn_jax.evaluation.robustness.report import robustness
from bnn_jax.evaluation.robustness.request import GENERATED, SUITES, Request
from bnn_jax.training import parallel

REPORTS = {
    "accuracy": report.classification,
    "lipschitz": spectral.lipschitz,
    "oscillation": oscillation.oscillation,
    "weights": weights.weights,
}
COMPARING = ("oscillation",)
WITHOUT_DATA = ("oscillation",)
OF_A_CHECKPOINT = ("lipschitz", "weights")

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run made by train.py.")
_REPORT = flags.DEFINE_enum("report", "accuracy", list(REPORTS), "What to find out about it.")
_AGAINST = flags.DEFINE_string("against", "", f"Folder of another run to compare with ({', '.join(COMPARING)}).")
_SUITE = flags.DEFINE_enum("suite", None, list(SUITES), "Corrupted images to measure it on, instead of a report.")
_IMAGES = flags.DEFINE_string("data", "", "Folder of the suite's images, for cifar10_c and imagenet_c.")
_LEAVE_OUT = flags.DEFINE_list("leave_out", [], f"Corruptions of the suite not to measure, of {', '.join(ALL)}.")
_CHECKPOINT = flags.DEFINE_enum(
    "checkpoint", "best", ["best", "last"], f"Of a suite, or a report ({', '.join(OF_A_CHECKPOINT)}): which to measure."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of what chance decides in a suite's generated images.")
_STORED = flags.DEFINE_enum(
    "stored", "memory", ["memory", "jpeg85"], "How generated photographs are stored before use."
)
_COMPARE = flags.DEFINE_bool("compare", False, "Compare the runs whose folders follow, with a suite.")
_OUT = flags.DEFINE_string("out", "", "Folder for a comparison, if not the one that the first run lies in.")
_DATA = flags.DEFINE_string("data_directory", "", "Where the run's data lies now, if it was moved since training.")
_COORDINATOR = flags.DEFINE_string("coordinator", "", "host:port of process 0, for several processes.")
_PROCESSES = flags.DEFINE_integer("processes", 0, "Number of processes (TPU pods and clusters are detected).")
_PROCESS = flags.DEFINE_integer("process", -1, "Index of this process.")


def _evaluate(folders: list[str]) -> None:
    if not _SUITE.value:
        against = {"against": Path(_AGAINST.value)} if _AGAINST.value else {}
        data = {"data": _DATA.value} if _DATA.value else {}
        checkpoint = {"checkpoint": _CHECKPOINT.value} if _REPORT.value in OF_A_CHECKPOINT else {}
        REPORTS[_REPORT.value](Path(_WORKDIR.value), **against, **data, **checkpoint)
        return
    request = Request(
        suite=_SUITE.value,
        images=_IMAGES.value,
        leave_out=tuple(filter(None, _LEAVE_OUT.value)),
        checkpoint=_CHECKPOINT.value,
        data=_DATA.value,
        seed=_SEED.value,
        stored=_STORED.value,
    )
    if _COMPARE.value:
        compare([Path(folder) for folder in folders], request, _OUT.value)
    else:
        robustness(Path(_WORKDIR.value), request)


def _stop(*_: Any) -> None:
    """On SIGTERM: as Ctrl-C, so that what was measured is saved."""
    raise KeyboardInterrupt(signal.SIGTERM)


def _check_flags(folders: list[str]) -> None:
    """Refuses flags that do not fit together, or would change nothing.

    Raises:
      ValueError: if there is one; says which flag it belongs to.
    """
    if _COMPARE.value and (_WORKDIR.value or not _SUITE.value):
        raise ValueError("--compare takes folders of runs and a --suite, and no --workdir")
    if not _COMPARE.value and folders:
        raise ValueError(f"unexpected arguments: {folders} (no space after a comma)")
    if not _COMPARE.value and not _WORKDIR.value:
        raise ValueError("--workdir is needed: the folder of a run")
    if _AGAINST.value and _REPORT.value not in COMPARING:
        raise ValueError(f"--against is for --report {' or '.join(COMPARING)}, found {_REPORT.value!r}")
    of_reports = " and ".join(f"--report {name}" for name in OF_A_CHECKPOINT)
    for names, belongs, there in (
        (("data",), "--suite (the run's own data is --data_directory)", bool(_SUITE.value)),
        (("leave_out", "seed", "stored"), "--suite", bool(_SUITE.value)),
        (("checkpoint",), f"--suite, {of_reports}", bool(_SUITE.value) or _REPORT.value in OF_A_CHECKPOINT),
        (("seed", "stored"), f"--suite {GENERATED}, whose images are generated", _SUITE.value in (None, GENERATED)),
        (("out",), "--compare", _COMPARE.value),
        (("report", "against"), "--workdir without --suite: a run has a report or a suite", not _SUITE.value),
        (("data_directory",), f"reports other than {', '.join(WITHOUT_DATA)}", _REPORT.value not in WITHOUT_DATA),
    ):
        unused = [f"--{name}" for name in names if flags.FLAGS[name].present]
        if unused and not there:
            raise ValueError(f"{', '.join(unused)} belongs to {belongs}")


def main(argv: list[str]) -> None:
    """Evaluates the run the flags name."""
    try:
        _check_flags(argv[1:])
    except ValueError as error:
        sys.exit(f"eval.py: {error}. All flags: eval.py --help")
    logging.set_verbosity(logging.ERROR)
    signal.signal(signal.SIGTERM, _stop)
    parallel.initialize(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    try:
        _evaluate(argv[1:])
    except (ValueError, OSError) as error:
        sys.exit(f"eval.py: {error}")
    except KeyboardInterrupt as stopped:
        print("eval.py: stopped. The same command continues a suite.", file=sys.stderr)
        # The shell's convention for a program which a signal ended.
        sys.exit(128 + (stopped.args[0] if stopped.args else signal.SIGINT))


if __name__ == "__main__":
    app.run(main)
