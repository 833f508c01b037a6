"""One call of train.py: check, describe, train or continue, and say where everything is."""

import json
from pathlib import Path
from typing import Any

import jax

from bnn_jax.config import Config, flatten, to_dict
from bnn_jax.summary import summarize
from bnn_jax.training import parallel
from bnn_jax.training import workdir as folder
from bnn_jax.training.checkpoint import Checkpoints
from bnn_jax.training.console import Console, table
from bnn_jax.training.curves import draw_curves
from bnn_jax.training.experiment import assemble
from bnn_jax.training.loop import Loop, Outcome


class Session:
    """An experiment and the folder it runs in.

    Args:
      config: The experiment.
      workdir: Its folder; None only to describe.

    Raises:
      ValueError: If the config cannot run, or the folder belongs to another one.
      FileNotFoundError: If the data is not there.
    """

    def __init__(self, config: Config, workdir: Path | None):
        self.config, self.workdir = config, workdir
        if workdir is not None:
            folder.verify(workdir, config)
        self.experiment = assemble(config)
        self.summary = summarize(self.experiment.model, self.experiment.splits.info.image_shape)
        self.start_step = _latest_step(workdir)
        self.console = Console(
            self.experiment.total_steps,
            self.start_step,
            total_epochs=config.epochs,
            quiet=jax.process_index() > 0,
        )

    def describe(self, *, show_config: bool) -> None:
        """Shows the network and the plan, and the config before them if asked to."""
        if jax.process_index():
            return
        if show_config:
            table("Config", ("field", "value"), list(flatten(to_dict(self.config)).items()))
        self.console.print(self.summary)
        table("Plan", ("what", "value"), self._plan())

    def _plan(self) -> list[tuple[str, Any]]:
        experiment, data = self.experiment, self.config.data
        info, rates = experiment.splits.info, experiment.learning_rates
        return [
            (
                "data",
                f"{info.name}: {len(experiment.splits.train)} training, {len(experiment.splits.test)} test images",
            ),
            ("images", f"{'x'.join(map(str, info.image_shape))}, {info.num_classes} classes"),
            (
                "devices",
                f"{jax.device_count()} {jax.devices()[0].device_kind} in {jax.process_count()} process(es)",
            ),
            ("batch", f"{data.batch_size}, {data.batch_size // jax.device_count()} per device"),
            (
                "steps",
                f"{experiment.total_steps}: {self.config.epochs} epochs of {experiment.steps_per_epoch}",
            ),
            ("learning rate", f"{rates[0]:.4g} first epoch, {max(rates):.4g} highest, {rates[-1]:.4g} last"),
            ("workdir", str(self.workdir) if self.workdir else "none"),
            ("start", f"continue after step {self.start_step}" if self.start_step else "from the beginning"),
        ]

    def train(self) -> int:
        """Trains to the end or to a signal.

        Returns:
          The signal that stopped the run; 0 if it ran to its end.

        Raises:
          NonFiniteError: If a step is not finite.
        """
        assert self.workdir is not None, "a session without a workdir can only describe"
        lead = jax.process_index() == 0
        # Also a barrier: every process has looked for a run to continue before the folder becomes one.
        parallel.check_agreement("the config", json.dumps(to_dict(self.config), sort_keys=True))
        parallel.check_agreement("the step to start from (is the workdir shared?)", str(self.start_step))
        parallel.barrier("claim")
        if lead:
            folder.claim(self.workdir, self.config)
            folder.write_json(self.workdir / "summary.json", self.summary.to_json())
        with self.console:
            outcome = Loop(self.experiment, self.workdir, self.console).run()
        if lead:
            self._conclude(outcome)
        return outcome.signal

    def _conclude(self, outcome: Outcome) -> None:
        workdir = self.workdir
        assert workdir is not None
        if outcome.signal:
            self.console.print(
                f"Stopped by signal {outcome.signal} after step {outcome.step} of {outcome.total_steps}; saved. "
                "The same command continues."
            )
            return
        draw_curves(workdir)
        rows = [
            ("best test accuracy", f"{outcome.best_accuracy:.2%} (epoch {outcome.best_epoch})"),
            ("last and best checkpoint", workdir / "checkpoints"),
            ("metrics of every step", workdir / "metrics.jsonl"),
            ("curves", workdir / "curves.png"),
            ("network", workdir / "summary.json"),
            ("exact evaluation", f"python eval.py --workdir {workdir}"),
        ]
        table("Finished", ("what", "where"), rows)


def _latest_step(workdir: Path | None) -> int:
    if workdir is None or not (workdir / folder.CONFIG).exists():
        return 0
    checkpoints = Checkpoints(workdir, read_only=True)
    step = checkpoints.latest_step or 0
    checkpoints.close()
    return step
