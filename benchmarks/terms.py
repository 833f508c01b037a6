"""What a term of the loss costs: seconds of a training step with it over those without.

    python benchmarks/terms.py --config configs/cifar10/lcr_resnet18.py --term lipschitz

Both steps, and the teacher's forward pass alone where the term is the only one which needs it, run in one process and
take turns, round by round; the ratio is the median over rounds. The teacher's forward is told apart, since any use of a
teacher costs it:

    cost of the term = (with - without - teacher) / without

Options: --batch N (default 64), --rounds N, --steps N (per round), --json FILE.
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bnn_jax.training.host_memory import keep_freed_memory  # noqa: E402 (before JAX starts its backend)

keep_freed_memory()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from benchmarks.steps import Step  # noqa: E402
from bnn_jax import losses  # noqa: E402
from bnn_jax.config import Config  # noqa: E402
from bnn_jax.config.file import load  # noqa: E402
from bnn_jax.training.experiment import assemble  # noqa: E402
from bnn_jax.training.state import without_losses  # noqa: E402


class TeacherForward:
    """The teacher's forward pass alone, on as many images."""

    def __init__(self, step: Step):
        teacher, size = step.experiment.teacher, step.experiment.config.data.batch_size
        self.variables = step.experiment.init_state().teacher
        self.images = jnp.ones((size, *step.experiment.splits.info.image_shape))
        self.forward = jax.jit(lambda v, x: teacher.apply(v, x, train=False, progress=1.0))

    def seconds(self, steps: int) -> float:
        """Runs it some times and says how long that took."""
        began = time.perf_counter()
        for _ in range(steps):
            jax.block_until_ready(self.forward(self.variables, self.images))
        return time.perf_counter() - began


def watches_teacher(config: Config) -> bool:
    """Whether some term of the loss depends on what the teacher makes of the images."""
    experiment = assemble(config)
    state = experiment.init_state()
    images = jnp.zeros((2, *experiment.splits.info.image_shape))
    logits, features = experiment.model.apply(state.variables, images)
    taught = experiment.teacher.apply(state.teacher, images)
    unknown = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), taught)
    outputs = losses.Outputs(
        logits,
        jnp.zeros(2, jnp.int32),
        features,
        without_losses(state.params),
        0.0,
        losses.Teacher(*unknown, state.teacher["params"]),
    )
    terms = [losses.Term(loss.name, loss.term.build()) for loss in config.losses]
    # What is not a number is not lost on its way to the loss.
    return bool(jnp.isnan(losses.total(terms, outputs, experiment.learned)[0]))


def measure(path: str, term: str, batch: int, rounds: int, steps: int) -> dict[str, float]:
    """Medians over rounds, in seconds per step, and the shares."""
    config = load(path)
    rest = [loss for loss in config.losses if loss.name != term]
    if len(rest) == len(config.losses):
        sys.exit(f"{path} has no term {term!r}: it has {[loss.name for loss in config.losses]}")
    # Without the term the teacher's pass is of no use, and not computed.
    sides = {"with": Step(config, batch), "without": Step(replace(config, losses=rest), batch)}
    if config.teacher is not None and not watches_teacher(replace(config, losses=rest)):
        sides["teacher"] = TeacherForward(sides["with"])
    times = {name: [] for name in sides}
    for i in range(rounds + 1):
        for name, side in sides.items():
            seconds = side.seconds(steps) / steps
            if i:  # the first round compiles
                times[name].append(seconds)
    teacher = times.get("teacher", [0.0] * rounds)
    costs = [(a - b - t) / b for a, b, t in zip(times["with"], times["without"], teacher, strict=True)]
    row = {f"{name} s": statistics.median(values) for name, values in times.items()}
    return {**row, "cost": statistics.median(costs), "cost min": min(costs), "cost max": max(costs)}


def main() -> None:
    """Parses the command line, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--term", required=True)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--json", default="")
    options = parser.parse_args()
    row = measure(options.config, options.term, options.batch, options.rounds, options.steps)
    for name, value in row.items():
        print(f"{name:>12}  {value:.1%}" if name.startswith("cost") else f"{name:>12}  {value:.3f}")
    if options.json:
        Path(options.json).write_text(json.dumps(row, indent=2) + "\n")


if __name__ == "__main__":
    main()
