"""Measuring a run under a suite of corruptions: whole, or what an earlier measurement has left."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from bnn_jax.data import normalize
from bnn_jax.evaluation.robustness.earlier import taken_up, tell
from bnn_jax.evaluation.robustness.outcomes import AMONG_FIVE, CLEAN, RIGHT, UNKNOWN, WRONG, Cell, Outcomes
from bnn_jax.evaluation.robustness.parts import Reading, Suite
from bnn_jax.evaluation.robustness.prepare import prepare
from bnn_jax.evaluation.robustness.progress import Steps
from bnn_jax.evaluation.robustness.request import Request
from bnn_jax.evaluation.robustness.summary import summarize
from bnn_jax.training import parallel
from bnn_jax.training.eval_step import label_ranks
from bnn_jax.training.experiment import Experiment
from bnn_jax.training.signals import StopRequest
from bnn_jax.training.step import AXIS
from bnn_jax.training.workdir import write_json

_SAVE_EVERY = 60.0
_IN_FLIGHT = 4
# Several hosts agree on where to stop by a count, which must not begin anew while the processes live.
_ASKED = count()


def measure(workdir: Path, request: Request, stop: StopRequest | None = None) -> tuple[dict[str, Any], Outcomes]:
    """Measures a run, and writes `workdir/<stem>.json` and `.npz` as it goes.

    The stem (`Request.stem`) is the suite's name, if nothing else about the request is unusual.

    What the `.npz` of an earlier measurement of the same weights and images holds is not measured again, and what it
    holds whole is told of, asked for or not.

    Args:
      workdir: folder of the run.
      request: what to measure.
      stop: asked between batches whether to stop, in its context; if None, one that is open while this runs.

    Returns:
      What the JSON file holds, see `summary.summarize`, and the outcome of every image.

    Raises:
      FileNotFoundError: if `workdir` is not the folder of a run, or data or textures are not there.
      KeyboardInterrupt: with its number, after a signal that asks to stop, once what was measured is written.
      OSError: if what was measured before is there and cannot be read.
      ValueError: if there is no checkpoint, or the data does not fit the network.
    """
    # Python drops what a signal's handler raises in a callback of its garbage collector: asked for instead.
    with StopRequest() if stop is None else nullcontext(stop) as stop:
        found = _measure(workdir, request, stop)
        _raise(stop)
    return found


def heed(stop: StopRequest) -> None:
    """Stops if that was asked for; all processes call it equally often, and stop together.

    Raises:
      KeyboardInterrupt: with the number of the signal.
    """
    stop.requested(next(_ASKED))
    _raise(stop)


def _raise(stop: StopRequest) -> None:
    if stop.signal:
        raise KeyboardInterrupt(stop.signal)


def _measure(workdir: Path, request: Request, stop: StopRequest) -> tuple[dict[str, Any], Outcomes]:
    prepared = prepare(workdir, request)
    experiment, suite, settings = prepared.experiment, prepared.suite, prepared.settings
    path = workdir / f"{request.stem}.npz"
    outcomes = taken_up(path, settings, len(suite))
    known = int(np.sum(outcomes.values != UNKNOWN))
    parallel.check_agreement("what was measured before (is the workdir shared?)", str(known))
    wanted = [cell for cell in outcomes.cells if cell != CLEAN or suite.paired is not None]
    if path.is_file() and jax.process_index() == 0:
        tell(path, outcomes, wanted)
    # Opening a run may have taken minutes.
    heed(stop)

    def grown() -> bool:
        return int(np.sum(outcomes.values != UNKNOWN)) > known

    def write() -> dict[str, Any]:
        # Outcomes first: a summary takes seconds, which a process that is being ended may not have.
        if jax.process_index() == 0:
            outcomes.save(path)
        summary = summarize(outcomes)
        if jax.process_index() == 0:
            write_json(path.with_suffix(".json"), summary)
        return summary

    def keep() -> None:
        # While it is nothing, what the files hold of other images stays.
        if jax.process_index() == 0 and grown():
            write()

    try:
        if not all(outcomes.known(cell) for cell in wanted):
            info = experiment.splits.info
            variables = parallel.replicate(prepared.variables)
            step = parallel.parallelize(make_outcome_step(experiment.model, info.mean, info.std))
            _run(suite, outcomes, wanted, _reading(experiment), lambda batch: step(variables, batch), keep, stop)
    except BaseException:
        keep()
        raise
    return write(), outcomes


def _reading(experiment: Experiment) -> Reading:
    config = experiment.config
    threads = config.run.read_threads
    processes = {"process_index": jax.process_index(), "process_count": jax.process_count()}
    return Reading(config.data.eval_batch_size, {**processes, "threads": threads, "prefetch": max(4, threads)})


def _run(
    suite: Suite,
    outcomes: Outcomes,
    wanted: Sequence[Cell],
    reading: Reading,
    step: Callable[[Any], Any],
    keep: Callable[[], None],
    stop: StopRequest,
) -> None:
    """Measures what is not known of the cells that are wanted; what was measured is kept now and then.

    Raises:
      KeyboardInterrupt: with its number, after a signal that asks to stop; on all processes after the same batch.
    """
    size = reading.batch_size
    starts = range(0, len(suite), size)
    total = len(wanted) * len(starts)
    done = sum(outcomes.known(cell, start, size) for cell in wanted for start in starts)
    waiting: deque[tuple[Any, int, Any]] = deque()
    saved = time.monotonic()

    def settle(most: int) -> None:
        while len(waiting) > most:
            cell, first, found = waiting.popleft()
            outcomes.record(cell, first, np.asarray(found))

    with Steps(total, done, quiet=jax.process_index() != 0) as steps:
        for part in suite.parts(outcomes, reading):
            waiting.append((part.cell, part.first, step(part.batch)))
            settle(_IN_FLIGHT)
            steps.advance(f"{part.cell.corruption} {part.cell.severity or ''}".strip())
            if stop.requested(next(_ASKED)):
                break
            if time.monotonic() - saved > _SAVE_EVERY:
                keep()
                saved = time.monotonic()
        settle(0)
    _raise(stop)


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
