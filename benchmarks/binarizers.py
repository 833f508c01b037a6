"""What a weight binarizer costs: seconds of a training step with it over those with another.

    python benchmarks/binarizers.py --config configs/cifar10/rebnn_resnet18.py --against reactnet

Both steps run in one process and take turns, round by round; the ratio is the median over rounds of the one that the
config names / the other, with its quartiles. Stages and teacher are left out, and cross-entropy is the loss: what a
teacher costs is the same on both sides, and would make the ratio look smaller.

Options: --batch N (default 64), --rounds N (2 or more), --steps N (per round), --json FILE.
"""

import sys
from copy import deepcopy
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bnn_jax.training.host_memory import keep_freed_memory  # noqa: E402 (before JAX starts its backend)

if __name__ == "__main__":
    keep_freed_memory()

from benchmarks import steps  # noqa: E402
from bnn_jax import binarizers, losses  # noqa: E402
from bnn_jax.config import Config, LossConfig, component  # noqa: E402
from bnn_jax.config.file import load  # noqa: E402


def alone(config: Config) -> Config:
    """The experiment without stages and teacher, from random weights."""
    config.stages, config.teacher, config.init_from = [], None, ""
    config.losses = [LossConfig("cross_entropy", component(losses.cross_entropy))]
    return config


def measure(path: str, against: str, batch: int, rounds: int, count: int) -> dict[str, float]:
    """Medians over rounds, in seconds per step, and their ratio."""
    config = alone(load(path))
    other = deepcopy(config)
    other.model.weights = component(getattr(binarizers, against))
    times = steps.take_turns({"config": steps.Step(config, batch), against: steps.Step(other, batch)}, rounds, count)
    return steps.summary(times, "ratio", [a / b for a, b in zip(times["config"], times[against], strict=True)])


def main() -> None:
    """Parses the command line, runs, prints."""
    parser = steps.options(__doc__, rounds=12, steps=4)
    parser.add_argument("--against", default="reactnet")
    given = parser.parse_args()
    steps.show(measure(given.config, given.against, given.batch, given.rounds, given.steps), given.json)


if __name__ == "__main__":
    main()
