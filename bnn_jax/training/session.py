"""One call of train.py: check, describe, train or continue, and say where everything is."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jax

from bnn_jax.config import Config, flatten, to_dict
from bnn_jax.data import Absent
from bnn_jax.summary import summarize
from bnn_jax.training import parallel
from bnn_jax.training import workdir as folder
from bnn_jax.training.assembly import assemble
from bnn_jax.training.checkpoint import latest_step
from bnn_jax.training.console import Console, table
from bnn_jax.training.curves import draw_curves
from bnn_jax.training.examples import Opener, open_splits
from bnn_jax.training.loop import Loop
from bnn_jax.training.outcome import Outcome
from bnn_jax.training.run_log import has_evaluation
from bnn_jax.training.signals import StopRequest
from bnn_jax.training.sources import with_teacher_network
from bnn_jax.training.stages import is_stage, references


class Session:
    """An experiment and the folder it runs in.

    Args:
      config: The experiment.
      workdir: Its folder; None only to describe.
      name: Of the stage, if it is one of a recipe that has several.
      steps_before: Steps of the stages before it.
      find: Opens its data.

    Attributes:
      outcome: How `train` ended; None before.

    Raises:
      ValueError: If the config cannot run, the folder belongs to another one, or weights to start from do not fit.
      FileNotFoundError: If the data is not there, or weights are not.
    """

    def __init__(
        self, config: Config, workdir: Path | None, name: str = "", steps_before: int = 0, find: Opener = open_splits
    ):
        self.workdir, self.name, self.steps_before = workdir, name, steps_before
        self.outcome: Outcome | None = None
        self.config = config = with_teacher_network(config, workdir)
        if workdir is not None:
            folder.verify(workdir, config)
        self.experiment = assemble(config, find)
        self.summary = summarize(self.experiment.model, self.experiment.splits.info.image_shape)
        self.start_step = latest_step(workdir)
        if references(config) and not self.start_step:
            # Whatever is wrong with weights from elsewhere shows now, before a stage is trained for them.
            self.experiment.start_state(workdir or Path(), rehearsal=True, find=find)
        self.console = Console(
            self.experiment.total_steps,
            self.start_step,
            total_epochs=config.epochs,
            quiet=jax.process_index() > 0,
        )

    def describe(self, *, show_config: bool, elsewhere: Collection[str] = ()) -> None:
        """Shows the network and the plan, and the config before them if asked to.

        Args:
          show_config: Whether to show the config.
          elsewhere: Names of stages whose own sessions are described too: theirs is not repeated.
        """
        if jax.process_index():
            return
        if show_config:
            table(f"Config{self._suffix}", ("field", "value"), self._fields(elsewhere))
        self.console.print(self.summary)
        table(f"Plan{self._suffix}", ("what", "value"), self._plan())

    def _fields(self, elsewhere: Collection[str]) -> list[tuple[str, Any]]:
        """The config's fields; of stages that are described elsewhere only how theirs are called from here."""
        fields = flatten(to_dict(self.config))
        for i, stage in enumerate(self.config.stages):
            prefix = f"stages[{i}]."
            if self.name or stage.name in elsewhere:
                fields = {name: value for name, value in fields.items() if not name.startswith(prefix)}
            if not self.name and stage.name in elsewhere:
                fields[f"{prefix}config.FIELD"] = f"FIELD of stage {stage.name!r}"
        return list(fields.items())

    @property
    def _suffix(self) -> str:
        if self.name:
            return f" of stage {self.name!r}"
        return " of the last stage" if self.config.stages else ""

    @property
    def finished(self) -> bool:
        """Whether the run was at its end, and measured there, when the session began."""
        at_end = self.start_step >= self.experiment.total_steps
        return at_end and self.workdir is not None and has_evaluation(self.workdir, self.start_step)

    def _plan(self) -> list[tuple[str, Any]]:
        experiment, data = self.experiment, self.config.data
        info, rates = experiment.splits.info, experiment.learning_rates
        return [
            (
                "data",
                f"{info.name}: {len(experiment.splits.train)} training, {len(experiment.splits.test)} test images"
                f"{' (as published: it is not here)' if isinstance(experiment.splits.train, Absent) else ''}",
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
            *((what, self._named(source)) for what, source in self._sources() if source),
            ("start", f"continue after step {self.start_step}" if self.start_step else "from the beginning"),
        ]

    def _sources(self) -> list[tuple[str, str]]:
        teacher = self.config.teacher
        return [("weights from", self.config.init_from), ("teacher", teacher.source if teacher else "")]

    def _named(self, source: str) -> str:
        return f"stage {source!r}" if is_stage(source, self.config) else source

    @property
    def begun(self) -> bool:
        """Whether the run had taken a step when the session began."""
        return self.start_step > 0

    def claim(self) -> None:
        """Makes the folder that of this run; of a recipe, all are claimed before the first stage is run.

        Raises:
          ValueError: If the processes of the run differ in what they are about to do.
        """
        assert self.workdir is not None, "a session without a workdir can only describe"
        # Also a barrier: every process has looked for a run to continue before the folder becomes one.
        parallel.check_agreement("the config", json.dumps(to_dict(self.config), sort_keys=True))
        splits = self.experiment.splits
        parallel.check_agreement("the number of examples", f"{len(splits.train)} training, {len(splits.test)} test")
        parallel.check_agreement("the step to start from (is the workdir shared?)", str(self.start_step))
        parallel.barrier(f"claim {self.name}")
        if jax.process_index() == 0:
            folder.claim(self.workdir, self.config)
            folder.write_json(self.workdir / "summary.json", self.summary.to_json())

    def train(self) -> int:
        """Trains to the end or to a signal, in a folder that was claimed.

        Returns:
          The signal that stopped the run; 0 if it ran to its end. Of a stage also one that came too late to stop
          it: what comes after must not begin.

        Raises:
          NonFiniteError: If a step is not finite.
          DataError: If an example cannot be read, or there are not as many as when the run began.
        """
        assert self.workdir is not None, "a session without a workdir can only describe"
        # Entered first: what the loop is made of takes its time to compile.
        with StopRequest() as stop, self.console:
            loop = Loop(self.experiment, self.workdir, self.console, self.steps_before)
            self.outcome = outcome = loop.run(stop)
        if jax.process_index() == 0:
            self._conclude(outcome)
        return 0 if outcome.finished and not self.name else outcome.signal

    def _conclude(self, outcome: Outcome) -> None:
        workdir = self.workdir
        assert workdir is not None
        if not outcome.finished:
            self.console.print(
                f"Stopped by signal {outcome.signal} after step {outcome.step} of {outcome.total_steps}; saved. "
                "The same command continues."
            )
            return
        draw_curves(workdir)
        rows = [
            ("best test accuracy", f"{outcome.best_accuracy:.2%} (epoch {outcome.best_epoch})"),
            ("last and best checkpoint", workdir / "checkpoints"),
            ("metrics", workdir / "metrics.jsonl"),
            ("curves", workdir / "curves.png"),
            ("network", workdir / "summary.json"),
            ("exact evaluation", f"python eval.py --workdir {workdir}"),
        ]
        table(f"Stage {self.name!r} finished" if self.name else "Finished", ("what", "where"), rows)
