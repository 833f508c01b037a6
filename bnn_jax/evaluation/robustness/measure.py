"""Measuring a run under a suite of corruptions: whole, or what an earlier measurement has left."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from bnn_jax.data import normalize
from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.corruptions.record import tables
from bnn_jax.evaluation.robustness import published
from bnn_jax.evaluation.robustness.generated import Generated
from bnn_jax.evaluation.robustness.identity import PIXELS, beside_alexnet, checksum
from bnn_jax.evaluation.robustness.outcomes import AMONG_FIVE, RIGHT, UNKNOWN, WRONG, Outcomes, resume
from bnn_jax.evaluation.robustness.parts import Reading, Suite
from bnn_jax.evaluation.robustness.progress import Steps
from bnn_jax.evaluation.robustness.summary import summarize
from bnn_jax.evaluation.runs import load
from bnn_jax.training import parallel
from bnn_jax.training.eval_step import label_ranks
from bnn_jax.training.examples import open_splits
from bnn_jax.training.experiment import Experiment
from bnn_jax.training.step import AXIS
from bnn_jax.training.workdir import write_json

GENERATED, SUITES = "corruptions", ("corruptions", "cifar10_c", "imagenet_c")
_PUBLISHED = {"cifar10_c": published.cifar10_c, "imagenet_c": published.imagenet_c}
# Larger images are taken for photographs.
_SMALL_SIDE = 64
MEMORY, JPEG85 = "memory", "jpeg85"
_STORED = {"cifar10_c": MEMORY, "imagenet_c": JPEG85}
_SAVE_EVERY = 60.0
_IN_FLIGHT = 4


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes:
      suite: "corruptions", made from the run's own test set, or a published set: "cifar10_c", "imagenet_c".
      images: folder of the published set.
      leave_out: names of corruptions not to measure; a mean over what is left says so.
      checkpoint: "best" or "last".
      data: where the run's own data lies now, if it was moved.
      seed: of what chance decides in generated images.
      stored: how generated images reach the network: as they are in "memory", or as ImageNet-C's do: written as JPEG
        of quality 85 ("jpeg85") and read again.

    Raises:
      ValueError: if there is no such suite, corruption or way to store, or a published set has no folder.
    """

    suite: str = GENERATED
    images: str = ""
    leave_out: tuple[str, ...] = ()
    checkpoint: str = "best"
    data: str = ""
    seed: int = 0
    stored: str = MEMORY

    def __post_init__(self) -> None:
        if self.suite not in SUITES:
            raise ValueError(f"expected a suite of {SUITES}, found {self.suite!r}")
        unknown = [name for name in self.leave_out if name not in corruptions.ALL]
        if unknown or not self.names:
            raise ValueError(
                f"expected corruptions to leave out, some but not all of {', '.join(corruptions.ALL)}; found "
                f"{', '.join(unknown or self.leave_out)}"
            )
        if (self.suite == GENERATED) == bool(self.images):
            raise ValueError(
                f"--suite {self.suite} makes its images from the run's own test set: leave --data out"
                if self.images
                else f"--suite {self.suite} needs the folder of its images: --data DIR"
            )
        if self.stored not in (MEMORY, JPEG85) or (self.suite != GENERATED and self.stored != MEMORY):
            raise ValueError(
                f"expected {MEMORY!r} or {JPEG85!r} for generated images (--stored), {MEMORY!r} for published ones, "
                f"which are stored; found {self.stored!r}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The corruptions to measure."""
        return tuple(name for name in corruptions.ALL if name not in self.leave_out)

    @property
    def stem(self) -> str:
        """What its files are named: the suite, and what is not the usual. No measurement takes another's place."""
        parts = {
            "last": self.checkpoint != "best",
            f"seed{self.seed}": self.suite == GENERATED and self.seed != 0,
            self.stored: self.stored != MEMORY,
        }
        return "_".join([self.suite, *(part for part, unusual in parts.items() if unusual)])


def measure(workdir: Path, request: Request) -> tuple[dict[str, Any], Outcomes]:
    """Measures a run, and writes `workdir/<stem>.json` and `.npz` as it goes.

    The stem (`Request.stem`) is the suite's name, if nothing else about the request is unusual.

    What the `.npz` of an earlier, interrupted or smaller measurement of the same checkpoint holds is not measured
    again.

    Args:
      workdir: folder of the run.
      request: what to measure.

    Returns:
      What the JSON file holds, see `summary.summarize`, and the outcome of every image.

    Raises:
      FileNotFoundError: if `workdir` is not the folder of a run, or data or textures are not there.
      ValueError: if there is no checkpoint, or the data does not fit the network.
    """
    # Published images can be measured without the run's own, whose error is then not known.
    find = partial(open_splits, dry=request.suite != GENERATED)
    experiment, state = load(workdir, request.checkpoint, request.data, find)
    info = experiment.splits.info
    names = _names(request)
    suite, variant = _suite(request, names, experiment)
    settings = {
        "suite": request.suite,
        "dataset": info.name,
        "severities_of": variant,
        "checkpoint": request.checkpoint,
        "step": int(state.step),
        "epoch": int(state.step) / experiment.steps_per_epoch,
        "examples": len(suite),
        "seed": request.seed if request.suite == GENERATED else None,
        "names": list(names),
        "weights": checksum(state.variables),
        "labels": None if suite.labels is None else checksum(suite.labels),
        "paired": suite.paired,
        "alexnet": beside_alexnet(info, variant),
        **_images(request, names, variant, info.image_shape),
    }
    path = workdir / f"{request.stem}.npz"
    outcomes = resume(path, settings, names, len(suite))
    parallel.check_agreement(
        "what was measured before (is the workdir shared?)", str(np.sum(outcomes.values != UNKNOWN))
    )

    def save() -> None:
        if jax.process_index() == 0:
            outcomes.save(path)
            write_json(path.with_suffix(".json"), summarize(outcomes))

    if np.any(outcomes.values == UNKNOWN):
        variables = parallel.replicate(state.variables)
        step = parallel.parallelize(make_outcome_step(experiment.model, info.mean, info.std))
        _run(suite, outcomes, _reading(experiment), lambda batch: step(variables, batch), save)
    else:
        save()
    return summarize(outcomes), outcomes


def _names(request: Request) -> tuple[str, ...]:
    """The corruptions to measure: of a published set without extra ones that are not there.

    Raises:
      ValueError: if none is left.
    """
    if request.suite == GENERATED:
        return request.names
    root = Path(request.images).expanduser()
    names = tuple(
        name for name in request.names if name in corruptions.COMMON or published.present(request.suite, root, name)
    )
    if not names:
        raise ValueError(
            f"expected corruptions to measure, found none: {root} has none of {', '.join(request.names)}, and "
            "--leave_out names the rest"
        )
    return names


def _suite(request: Request, names: tuple[str, ...], experiment: Experiment) -> tuple[Suite, str]:
    """The images, and whose severities they have."""
    info, test = experiment.splits.info, experiment.splits.test
    if request.suite != GENERATED:
        root = Path(request.images).expanduser()
        return _PUBLISHED[request.suite](root, names, info, test), request.suite
    small = max(info.image_shape[:2]) <= _SMALL_SIDE
    variant = corruptions.CIFAR10_C if small else corruptions.IMAGENET_C
    if small and request.stored != MEMORY:
        raise ValueError("CIFAR-10-C's images were never stored as JPEG: leave --stored out for small images")
    chosen = {name: corruptions.ALL[name] for name in names}
    for corruption in chosen.values():
        # What is missing is to be known before anything is measured.
        tables(corruption, variant, info.image_shape)
    return Generated(test, info.image_shape, chosen, variant, request.seed, request.stored == JPEG85), variant


def _images(request: Request, names: Sequence[str], variant: str, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Which images they are: the folder of published ones; the version and the frost of generated ones."""
    if request.suite != GENERATED:
        folder = str(Path(request.images).expanduser().resolve())
        return {"images": folder, "frost": None, "pixels": None, "stored": _STORED[request.suite]}
    frost = checksum(tables(corruptions.frost, variant, shape).textures[0]) if "frost" in names else None
    return {"images": None, "frost": frost, "pixels": PIXELS, "stored": request.stored}


def _reading(experiment: Experiment) -> Reading:
    config = experiment.config
    threads = config.run.read_threads
    processes = {"process_index": jax.process_index(), "process_count": jax.process_count()}
    return Reading(config.data.eval_batch_size, {**processes, "threads": threads, "prefetch": max(4, threads)})


def _run(
    suite: Suite, outcomes: Outcomes, reading: Reading, step: Callable[[Any], Any], save: Callable[[], None]
) -> None:
    """Measures what is not known; whatever ends it, what was measured is saved."""
    size = reading.batch_size
    starts = range(0, len(suite), size)
    total = len(outcomes.cells) * len(starts)
    done = sum(outcomes.known(cell, start, size) for cell in outcomes.cells for start in starts)
    waiting: deque[tuple[Any, int, Any]] = deque()
    saved = time.monotonic()

    def settle(most: int) -> None:
        while len(waiting) > most:
            cell, first, found = waiting.popleft()
            outcomes.record(cell, first, np.asarray(found))

    try:
        with Steps(total, done, quiet=jax.process_index() != 0) as steps:
            for part in suite.parts(outcomes, reading):
                waiting.append((part.cell, part.first, step(part.batch)))
                settle(_IN_FLIGHT)
                steps.advance(f"{part.cell.corruption} {part.cell.severity or ''}".strip())
                if time.monotonic() - saved > _SAVE_EVERY:
                    save()
                    saved = time.monotonic()
            settle(0)
    finally:
        save()


def make_outcome_step(model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> Callable[..., Array]:
    """`(variables, batch) -> outcomes` uint8 of the global batch in its order, for the mapped axis "batch".

    Args:
      model: the network.
      mean: per channel, as for `bnn_jax.data.normalize`.
      std: the same.
    """

    def outcome_step(variables: Any, batch: dict[str, Array]) -> Array:
        made: Any = model.apply(variables, normalize(batch["image"], mean, std), train=False, progress=1.0)
        rank = label_ranks(made[0].astype(jnp.float32), batch["label"])
        found = jnp.where(rank < 1, RIGHT, jnp.where(rank < 5, AMONG_FIVE, WRONG)).astype(jnp.uint8)
        # Padding repeats an example: its outcome is not one, and is never recorded.
        found = jnp.where(batch["mask"].astype(bool), found, UNKNOWN).astype(jnp.uint8)
        return lax.all_gather(found, AXIS, tiled=True)

    return outcome_step
