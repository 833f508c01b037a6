"""What a run tells of itself: means over steps, evaluations, telemetry; to its log and to the console."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bnn_jax.training.checkpoint import Bookkeeping
from bnn_jax.training.console import Console
from bnn_jax.training.experiment import Experiment
from bnn_jax.training.run_log import RunLog
from bnn_jax.training.step import StepMetrics


class Reporter:
    """Adds up what steps report, and writes their means each `run.log_every` steps and at the end of each epoch.

    Args:
      experiment: What is run.
      books: Of the run; the sums since the last report are kept there, so that a checkpoint holds them.
      console: Where progress is shown.
      log: Where records are written; None on all processes but the first.
    """

    def __init__(self, experiment: Experiment, books: Bookkeeping, console: Console, log: RunLog | None):
        self._experiment, self._books, self._console, self._log = experiment, books, console, log
        # When the last report was made, and after which step.
        self._clock: tuple[float, int] | None = None

    def add(self, step: int, metrics: StepMetrics) -> None:
        """Adds the metrics of a step, on the host, and reports if it is time."""
        terms = {f"loss/{name}": value for name, value in metrics.terms.items()}
        for name, value in {"loss": metrics.loss, "accuracy": metrics.accuracy, **terms}.items():
            self._books.sums[name] = self._books.sums.get(name, 0.0) + float(value)
        self._books.count += 1
        # From the end of the first step, which compiles.
        self._clock = self._clock or (time.perf_counter(), step)
        if step % self._experiment.config.run.log_every == 0 or step % self._experiment.steps_per_epoch == 0:
            self._report(step)

    def _report(self, step: int) -> None:
        means = {name: value / self._books.count for name, value in self._books.sums.items()}
        self._books.sums, self._books.count = {}, 0
        now, (then, before) = time.perf_counter(), self._clock or (0.0, step)
        self._clock = (now, step)
        epoch = (step - 1) // self._experiment.steps_per_epoch
        means["learning_rate"] = self._experiment.learning_rates[epoch]
        if step > before:
            means["images_per_s"] = (step - before) * self._experiment.config.data.batch_size / (now - then)
        self.write("train", step, means)
        self._console.update(step, step / self._experiment.steps_per_epoch, means)

    def write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Writes a record to the log; arguments as `RunLog.write`."""
        if self._log is not None:
            self._log.write(kind, step, step / self._experiment.steps_per_epoch, **values)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What is done within is no training, and does not count in images per second."""
        started = time.perf_counter()
        yield
        if self._clock is not None:
            self._clock = (self._clock[0] + time.perf_counter() - started, self._clock[1])

    def close(self) -> None:
        """Closes the log."""
        if self._log is not None:
            self._log.close()
