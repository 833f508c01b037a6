"""What is measured of a finished run: functions of its folder to numbers by name."""

import statistics
from pathlib import Path

from bnn_jax.evaluation import spectral, weights
from bnn_jax.evaluation.oscillation import describe, last_epoch
from bnn_jax.training.run_log import read_log
from bnn_jax.training.telemetry import MEMORY

ACCURACY = "accuracy"


def accuracy(workdir: Path) -> dict[str, float]:
    """Test accuracy in [0, 1] of the last checkpoint, which every run measures at its end.

    Raises:
      ValueError: If the run's log holds no evaluation of it.
    """
    records = read_log(workdir)
    step = records[-1]["step"] if records else 0
    found = [record["accuracy"] for record in records if record["kind"] == "eval" and record["step"] == step]
    if not found:
        raise ValueError(
            f"{workdir} holds no test accuracy of its last step, {step}: expected a finished run, which measures it"
        )
    return {ACCURACY: found[-1]}


def lipschitz_gaps(workdir: Path) -> dict[str, float]:
    """How far the last checkpoint's spectral norms are from its teacher's, by pair of stages.

    Mean absolute differences of the exact norms over a sample of test images; where the loss learned scales of the
    stages, also those it saw.

    Raises:
      ValueError: If the run has no teacher, or its network has fewer than two stages.
    """
    pairs = spectral.compare(workdir, "last")["pairs"]
    gaps = {f"{gap}, {pair['pair']}": pair[gap] for gap in ("gap", "scaled gap") for pair in pairs if gap in pair}
    if not gaps:
        raise ValueError(f"gaps are those to a teacher's norms, and the run in {workdir} has no teacher")
    return gaps


def weight_shapes(workdir: Path) -> dict[str, float]:
    """How the latent weights of the last checkpoint's binary layers are distributed, means over the layers.

    Their kurtosis, the largest distance of one from its target (where the loss has targets), the quantization error
    |w - s sign(w)|^2 / |w|^2 with the best scale of each output channel, and bits of entropy per weight.

    Raises:
      ValueError: If the network has no binary layer.
    """
    layers = [layer for layer in weights.describe(workdir, "last")["layers"] if layer["binary"]]
    if not layers:
        raise ValueError(f"the network of {workdir} has no binary layer")
    found = {
        name: statistics.mean(layer["after"][name] for layer in layers) for name in ("kurtosis", "error", "entropy")
    }
    apart = [abs(layer["after"]["kurtosis"] - layer["target"]) for layer in layers if layer["target"] is not None]
    shapes = {"kurtosis": found["kurtosis"], "quantization error": found["error"], "entropy": found["entropy"]}
    return shapes | ({"largest distance of a kurtosis from its target": max(apart)} if apart else {})


def oscillation(workdir: Path) -> dict[str, float]:
    """How much a run's binary weights oscillate, means over layers.

    Shares of bits that a step flips, and flips back, in the last epoch's telemetry; the latter also as a mean over all
    epochs; the share of latent weights near zero; and what the binarizers remember of each output channel, if anything,
    in the last epoch. See `bnn_jax.evaluation.oscillation.describe`.

    Raises:
      ValueError: If the run has no telemetry.
    """
    layers = list(describe(workdir)["layers"].values())
    last = [last_epoch(layer) for layer in layers]
    remembered = [name for name in last[0] if name.startswith(MEMORY) and all(name in of for of in last)]
    return {
        "flips, last epoch": statistics.mean([ratios["flip_ratio"] for ratios in last]),
        "flips back, last epoch": statistics.mean([ratios["flip_back_ratio"] for ratios in last]),
        "flips back, whole run": statistics.mean([statistics.mean(layer["flip_back_ratio"]) for layer in layers]),
        "latent weights near zero": statistics.mean([layer["near_zero"] for layer in layers]),
        **{
            f"remembered {name.removeprefix(MEMORY)}, last epoch": statistics.mean([of[name] for of in last])
            for name in remembered
        },
    }
