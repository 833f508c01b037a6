"""What a weight binarizer costs: seconds of a training step with it over those with another.

    python benchmarks/binarizers.py --config configs/cifar10/rebnn_resnet18.py --against reactnet

Both steps run in one process and take turns, round by round; the ratio is the median over rounds of the one that the
config names / the other, with its quartiles. Stages and teacher are left out, and cross-entropy is the loss: what a
teacher costs is the same on both sides, and would make the ratio look smaller.

Options: --batch N (default 64), --rounds N, --steps N (per round), --json FILE.
"""

import argparse
import json
import statistics
import sys
from copy import deepcopy
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bnn_jax.training.host_memory import keep_freed_memory  # noqa: E402 (before JAX starts its backend)

keep_freed_memory()

from benchmarks.steps import Step  # noqa: E402
from bnn_jax import binarizers, losses  # noqa: E402
from bnn_jax.config import Config, LossConfig, component  # noqa: E402
from bnn_jax.config.file import load  # noqa: E402


def alone(config: Config) -> Config:
    """The experiment without stages and teacher, from random weights."""
    config.stages, config.teacher, config.init_from = [], None, ""
    config.losses = [LossConfig("cross_entropy", component(losses.cross_entropy))]
    return config


def measure(path: str, against: str, batch: int, rounds: int, steps: int) -> dict[str, float]:
    """Medians over rounds, in seconds per step, and their ratio."""
    config = alone(load(path))
    other = deepcopy(config)
    other.model.weights = component(getattr(binarizers, against))
    sides = {"config": Step(config, batch), against: Step(other, batch)}
    times = {name: [] for name in sides}
    for i in range(rounds + 1):
        # Whoever comes second finds another cache: they change places.
        for name in list(sides)[:: 1 if i % 2 else -1]:
            seconds = sides[name].seconds(steps) / steps
            if i:  # the first round compiles
                times[name].append(seconds)
    ratios = [a / b for a, b in zip(times["config"], times[against], strict=True)]
    row = {f"{name} s": statistics.median(values) for name, values in times.items()}
    lower, middle, upper = statistics.quantiles(ratios, n=4)
    return {**row, "ratio": middle, "lower quartile": lower, "upper quartile": upper}


def main() -> None:
    """Parses the command line, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--against", default="reactnet")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--json", default="")
    options = parser.parse_args()
    row = measure(options.config, options.against, options.batch, options.rounds, options.steps)
    for name, value in row.items():
        print(f"{name:>12}  {value:.3f}")
    if options.json:
        Path(options.json).write_text(json.dumps(row, indent=2) + "\n")


if __name__ == "__main__":
    main()
