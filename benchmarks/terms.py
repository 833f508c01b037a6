"""What a term of the loss costs: seconds of a training step with it beside those without.

    python benchmarks/terms.py --config configs/cifar10/lcr_resnet18.py --term lipschitz

Both steps run in one process and take turns, round by round; printed is the median over rounds of with / without - 1,
with its quartiles. Any use of a teacher's outputs costs its forward pass, which is not the term's: where no other term
needs them, the step without reads those outputs too, in a term that does nothing else.

Options: --batch N (default 64), --rounds N (2 or more), --steps N (per round), --json FILE.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bnn_jax.training.host_memory import keep_freed_memory  # noqa: E402 (before JAX starts its backend)

if __name__ == "__main__":
    keep_freed_memory()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax import Array  # noqa: E402

from benchmarks import steps  # noqa: E402
from bnn_jax import losses  # noqa: E402
from bnn_jax.config import Config, LossConfig, component  # noqa: E402
from bnn_jax.config.file import load  # noqa: E402
from bnn_jax.losses import Outputs  # noqa: E402
from bnn_jax.training.assembly import assemble  # noqa: E402
from bnn_jax.training.state import without_losses  # noqa: E402

LOGITS = "logits"


def glance(names: tuple[str, ...]) -> Callable[[Outputs], Array]:
    """A term which reads these outputs of the teacher, "logits" or names of features, and has no gradient."""

    def term(outputs: Outputs) -> Array:
        teacher = outputs.require_teacher("glance")
        seen = {LOGITS: teacher.logits, **teacher.features}
        return sum((jnp.mean(seen[name]) for name in names), jnp.zeros(()))

    return term


def watched(config: Config) -> dict[str, set[str]]:
    """Which outputs of the teacher, "logits" or names of features, each term of the loss depends on, by its name."""
    experiment = assemble(config)
    terms = [losses.Term(loss.name, loss.term.build()) for loss in config.losses]
    if experiment.teacher is None:
        return {term.name: set() for term in terms}
    images = jnp.zeros((2, *experiment.splits.info.image_shape))
    state = experiment.abstract_state()
    own = jax.eval_shape(experiment.model.apply, state.variables, images)
    taught = jax.eval_shape(experiment.teacher.apply, state.teacher, images)
    rng = np.random.default_rng(0)
    # Random, so that no two are the same and no distance between them is a special case.
    drawn = jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype),
        (own, without_losses(state.params), taught, state.teacher["params"]),
    )
    own, params, taught, weights = drawn

    # All of it as arguments: as constants the compiler would compute with them.
    @jax.jit
    def values(own: Any, params: Any, taught: tuple[Array, dict[str, Array]], weights: Any) -> dict[str, Array]:
        (logits, features), teacher = own, losses.Teacher(*taught, weights)
        outputs = losses.Outputs(logits, jnp.zeros(2, jnp.int32), features, params, 0.0, teacher)
        return losses.total(terms, outputs, experiment.learned)[1]

    found: dict[str, set[str]] = {term.name: set() for term in terms}
    before = values(own, params, taught, weights)
    for output in (LOGITS, *taught[1]):
        doubled = (
            taught[0] * (2 if output == LOGITS else 1),
            {name: map_ * (2 if output == name else 1) for name, map_ in taught[1].items()},
        )
        for name, value in values(own, params, doubled, weights).items():
            if value != before[name]:
                found[name].add(output)
    return found


def without(config: Config, term: str) -> Config:
    """The experiment without the term, which still needs of the teacher what the term needs.

    Raises:
      ValueError: If there is no such term.
    """
    rest = [loss for loss in config.losses if loss.name != term]
    if len(rest) == len(config.losses):
        raise ValueError(f"there is no term {term!r}: the config has {[loss.name for loss in config.losses]}")
    needs = watched(config)
    if alone := needs.pop(term).difference(*needs.values()):
        rest.append(LossConfig(term, component(glance, names=tuple(sorted(alone)))))
    return replace(config, losses=rest)


def measure(path: str, term: str, batch: int, rounds: int, count: int) -> dict[str, float]:
    """Medians over rounds, in seconds per step, and the share that the term adds."""
    config = steps.on_random_images(load(path), batch)
    bare = without(config, term)
    times = steps.take_turns({"with": steps.Step(config, batch), "without": steps.Step(bare, batch)}, rounds, count)
    return steps.summary(times, "cost", [a / b - 1 for a, b in zip(times["with"], times["without"], strict=True)])


def main() -> None:
    """Parses the command line, runs, prints."""
    parser = steps.options(__doc__, rounds=12, steps=2)
    parser.add_argument("--term", required=True)
    given = parser.parse_args()
    try:
        row = measure(given.config, given.term, given.batch, given.rounds, given.steps)
    except ValueError as error:
        sys.exit(f"{given.config}: {error}")
    steps.show(row, given.json)


if __name__ == "__main__":
    main()
