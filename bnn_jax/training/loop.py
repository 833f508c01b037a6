"""The training loop: steps, evaluation, logs and checkpoints until the run is over or asked to stop."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from bnn_jax.data import train_iterator
from bnn_jax.training import parallel
from bnn_jax.training.accuracy import Interrupted, measure
from bnn_jax.training.checkpoint import Bookkeeping, Checkpoints
from bnn_jax.training.console import Console
from bnn_jax.training.diagnosis import non_finite
from bnn_jax.training.experiment import Experiment
from bnn_jax.training.outcome import DataError, Outcome
from bnn_jax.training.reporter import Reporter
from bnn_jax.training.run_log import RunLog, has_evaluation
from bnn_jax.training.signals import StopRequest
from bnn_jax.training.state import TrainState
from bnn_jax.training.step import StepMetrics
from bnn_jax.training.telemetry import Telemetry


@dataclass(frozen=True)
class _Pending:
    """A step that is dispatched, its metrics not yet fetched."""

    step: int
    metrics: StepMetrics
    batch: dict[str, np.ndarray]


class Loop:
    """One process's part in a run; `run` is all there is to call.

    Args:
      experiment: What to run.
      workdir: Where checkpoints and logs go.
      console: Where progress is shown.
      steps_before: Steps of the stages before this run. Several hosts agree on where to stop by a count of steps,
        which must not begin anew while the processes live.
    """

    def __init__(self, experiment: Experiment, workdir: Path, console: Console, steps_before: int = 0):
        self.experiment, self.steps_before = experiment, steps_before
        self.config = experiment.config
        self.console = console
        self.checkpoints = Checkpoints(workdir)
        if self.checkpoints.latest_step is None:
            state, self.books = experiment.start_state(workdir), Bookkeeping()
        else:
            state, self.books = self.checkpoints.restore(experiment.abstract_state())
            # A run that was stopped by a non-finite step may try again.
            state = state.replace(healthy=np.ones((), np.bool_))
            self._check_examples()
        self.step = int(state.step)
        self.state: TrainState = parallel.replicate(state)
        self.batches = train_iterator(
            experiment.splits.train,
            batch_size=self.config.data.batch_size,
            seed=self.config.seed,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            threads=self.config.run.read_threads,
            prefetch=max(4, self.config.run.read_threads),
        )
        if self.books.iterator:
            self.batches.set_state(self.books.iterator)
        # A run was stopped before or in an evaluation: this is made up for before the next step.
        self.owed = self.experiment.is_evaluated(self.step) and not has_evaluation(workdir, self.step)
        tensorboard = None if self.config.run.tensorboard else False
        log = RunLog(workdir, self.step, tensorboard=tensorboard) if jax.process_index() == 0 else None
        self.reporter = Reporter(experiment, self.books, console, log)
        # At least once an epoch, also in a run on few images; three steps are compared.
        every = min(self.config.run.telemetry_every, max(3, experiment.steps_per_epoch))
        self.telemetry = Telemetry(experiment.layers, every)
        self.telemetry.restore(
            self.books.telemetry, self.step, self.state.params, self.state.memory, self.experiment.progress(self.step)
        )

    def run(self, stop: StopRequest | None = None) -> Outcome:
        """Trains to the end, or until a signal or a non-finite step.

        Args:
          stop: Entered by the caller, who may have been asked to stop while this loop was made; None for its own.

        Raises:
          NonFiniteError: If the loss or a gradient is not finite; the last good state is saved before.
          DataError: If an example cannot be read; what was done until then is saved before.
        """
        pending: _Pending | None = None
        per_epoch = self.experiment.steps_per_epoch
        with StopRequest() if stop is None else nullcontext(stop) as stop:
            stopping = self.owed and not self._finish_epoch(stop)
            while self.step < self.experiment.total_steps and not stopping:
                batch = self._read(pending)
                self.state, metrics = self.experiment.train_step(self.state, parallel.split(batch))
                # The device works on this step while the host reads the last one's results.
                self._settle(pending)
                self.step += 1
                pending = _Pending(self.step, metrics, batch)
                self._observe()
                epoch_ends = self.step % per_epoch == 0
                # Asked for once: a signal that comes later than this is for the next step.
                stopping = stop.requested(self.steps_before + self.step)
                if stopping or epoch_ends:
                    self._settle(pending)
                    pending = None
                self.owed = self.experiment.is_evaluated(self.step)
                if epoch_ends and not stopping:
                    with self.reporter.pause():
                        stopping = not self._finish_epoch(stop)
                if stopping:
                    self._save()
        self._close()
        return Outcome(
            self.step,
            self.experiment.total_steps,
            stop.signal,
            self.books.best_accuracy,
            self.books.best_epoch,
            self.owed,
        )

    def _read(self, pending: _Pending | None) -> dict[str, np.ndarray]:
        try:
            batch: dict[str, np.ndarray] = next(self.batches)
        except (ValueError, OSError) as error:
            self._settle(pending)
            raise self._unreadable(error) from error
        return batch

    def _unreadable(self, error: Exception) -> DataError:
        """The error of an example that cannot be read, once what was done until then is saved."""
        # Several hosts save together, but the others read on.
        if jax.process_count() > 1:
            return DataError(f"{error}\nThe run goes on from its last checkpoint.")
        self._save()
        self._close()
        return DataError(f"{error}\nSaved after step {self.step}: the same command goes on from there.")

    def _check_examples(self) -> None:
        """Other examples would be another run from here on."""
        found, expected = len(self.experiment.splits.train), self.books.examples
        if expected and found != expected:
            raise DataError(
                f"the run began with {expected:,} training examples, found {found:,}: put the set back as it was, or "
                "begin another run in a workdir of its own"
            )

    def _settle(self, pending: _Pending | None) -> None:
        """Reads a step's metrics, which are reported if they are finite."""
        if pending is None:
            return
        metrics = jax.device_get(pending.metrics)
        if not (metrics.finite_loss and metrics.finite.all() and metrics.finite_state):
            self._fail(pending)
        self.reporter.add(pending.step, metrics)

    def _observe(self) -> None:
        observed = self.telemetry.observe(
            self.step, self.state.params, self.state.memory, self.experiment.progress(self.step)
        )
        if observed is not None:
            layers = {
                name: {k: float(v) for k, v in values.items()} for name, values in jax.device_get(observed).items()
            }
            self.reporter.write("telemetry", self.step, {"layers": layers})

    def _finish_epoch(self, stop: StopRequest) -> bool:
        """Evaluates and saves as is due; returns whether it was done, or a signal cut the evaluation short.

        Only that of a single process: several agree on where to stop by their steps.
        """
        epoch = self.step // self.experiment.steps_per_epoch
        accuracy, best_before = None, self.books.best_accuracy
        if self.experiment.is_evaluated(self.step):
            try:
                result = measure(self.experiment, self.state.variables, interrupted=lambda: bool(stop.signal))
            except Interrupted:
                return False
            except (ValueError, OSError) as error:
                # It must not cost the epoch.
                raise self._unreadable(error) from error
            accuracy, self.owed = result.top1, False
            if accuracy > best_before:
                self.books.best_accuracy, self.books.best_epoch = accuracy, epoch
        if accuracy is not None or epoch % self.config.run.checkpoint_every == 0:
            self._save(accuracy)
        if accuracy is not None:
            # After the checkpoint: what the log holds is not measured again, and must be in its ranking.
            values = {"accuracy": result.top1, "accuracy_top5": result.top5, "loss": result.loss}
            self.reporter.write("eval", self.step, {**values, "best_accuracy": self.books.best_accuracy})
            self.console.evaluated(self.step, epoch, result.top1, best_before)
        return True

    def _save(self, accuracy: float | None = None, state: TrainState | None = None) -> None:
        state = jax.device_get(self.state) if state is None else state
        self.books.examples = len(self.experiment.splits.train)
        self.books.iterator = {"next_index": int(state.step)}
        self.books.telemetry = self.telemetry.state()
        self.checkpoints.save(state, self.books, accuracy)

    def _fail(self, pending: _Pending) -> None:
        """Saves the last good state and raises; later steps have left it as it was."""
        state = jax.device_get(self.state)
        self._save(state=state)
        error = non_finite(self.experiment, state, pending.step, pending.metrics, pending.batch["image"])
        self._close()
        raise error

    def _close(self) -> None:
        self.checkpoints.close()
        self.reporter.close()
