"""What is measured of a finished run: functions of its folder to numbers by name."""

from pathlib import Path

from bnn_jax.evaluation import spectral
from bnn_jax.training.run_log import read_log

ACCURACY = "accuracy"


def accuracy(workdir: Path) -> dict[str, float]:
    """Test accuracy in [0, 1] of the last checkpoint, which every run measures at its end.

    Raises:
      ValueError: If the run's log holds no evaluation.
    """
    found = [record["accuracy"] for record in read_log(workdir) if record["kind"] == "eval"]
    if not found:
        raise ValueError(f"{workdir} holds no test accuracy: expected a finished run, which measures it at its end")
    return {ACCURACY: found[-1]}


def lipschitz_gaps(workdir: Path) -> dict[str, float]:
    """How far the last checkpoint's spectral norms are from its teacher's, by pair of stages.

    Mean absolute differences of the exact norms over the first test images; where the loss learned scales of the
    stages, also those it saw.

    Raises:
      ValueError: If the run has no teacher, or its network has fewer than two stages.
    """
    pairs = spectral.compare(workdir, "last")["pairs"]
    gaps = {f"{gap}, {pair['pair']}": pair[gap] for gap in ("gap", "scaled gap") for pair in pairs if gap in pair}
    if not gaps:
        raise ValueError(f"gaps are those to a teacher's norms, and the run in {workdir} has no teacher")
    return gaps
