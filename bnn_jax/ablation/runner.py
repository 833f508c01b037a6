"""Runs an ablation: checks everything, trains what is not finished, measures each run once."""

import gc
from pathlib import Path

import jax

from bnn_jax.ablation import report
from bnn_jax.ablation.plan import Plan, Shared, Trial
from bnn_jax.ablation.record import Ablation
from bnn_jax.ablation.results import stored, take
from bnn_jax.config import Config, flatten, to_dict
from bnn_jax.training import workdir as folder
from bnn_jax.training.checkpoint import latest_step
from bnn_jax.training.console import table
from bnn_jax.training.diagnosis import NonFiniteError
from bnn_jax.training.recipe import prepare
from bnn_jax.training.run_log import read_log
from bnn_jax.training.sources import with_teacher_network


def check(ablation: Ablation, planned: Plan, workdir: Path, *, dry: bool = False) -> None:
    """Refuses what cannot run, before anything is trained or written; with `dry` a published set need not be there.

    Raises:
      ValueError: If a config cannot run, weights would not fit, or a folder holds something else.
      FileNotFoundError: If data is not there, or weights from elsewhere are not.
    """
    report.verify(workdir)
    runs: list[Shared | Trial] = [*planned.shared, *planned.trials]
    for run in runs:
        folder.verify(run.workdir, with_teacher_network(run.config, run.workdir))
    # Seeds of a variant differ in nothing that could be refused.
    for trial in {trial.variant: trial for trial in _unfinished(ablation, planned)}.values():
        try:
            prepare(trial.recipe, None, dry=dry)
        except (ValueError, FileNotFoundError) as error:
            raise type(error)(f"variant {trial.variant!r}: {error}") from error


def describe(ablation: Ablation, planned: Plan, *, show_config: bool = False) -> None:
    """Prints the plan: every run, what it sets, its folder, and how far it is; before it the base, if asked to."""
    if show_config:
        table("Base", ("field", "value"), list(flatten(to_dict(ablation.base)).items()))
    unfinished = [trial.workdir for trial in _unfinished(ablation, planned)]
    rows = [
        (f"stage {run.name!r}", "-", str(run.workdir), "done" if _ended(run) else _state(run.workdir))
        for run in planned.shared
    ]
    for trial in planned.trials:
        fields = ", ".join(f"{path} = {value!r}" for path, value in ablation.variants[trial.variant].items())
        state = _state(trial.workdir) if trial.workdir in unfinished else "done"
        rows.append((f"{trial.variant}, seed {trial.seed}", fields or "-", str(trial.workdir), state))
    table("Plan", ("run", "sets", "folder", "state"), rows)


def run(ablation: Ablation, planned: Plan, workdir: Path) -> int:
    """Trains and measures all runs that are not done, and reports after each.

    Returns:
      The signal that stopped it; 0 if all was done.

    Raises:
      NonFiniteError: If a step was not finite: at once in a shared stage, after all other runs in one of these.
      ValueError: If a measure cannot be taken.
    """
    report.write(ablation, planned, workdir)
    todo = _unfinished(ablation, planned)
    # A run keeps what it took from a stage.
    for stage in planned.shared if any(not latest_step(trial.workdir) for trial in todo) else ():
        if signal := _train(f"stage {stage.name!r}, shared by all runs", stage.config, stage.workdir):
            return signal
    failures = []
    for trial in todo:
        place = f"run {planned.trials.index(trial) + 1} of {len(planned.trials)}"
        try:
            if signal := _train(f"{place}: {trial.variant}, seed {trial.seed}", trial.config, trial.workdir):
                return signal
        except NonFiniteError as error:
            failures.append(f"{trial.variant}, seed {trial.seed}: {error}")
            continue
        take(trial.workdir, ablation.measures)
        report.write(ablation, planned, workdir)
    report.show(ablation, planned, workdir)
    if failures:
        raise NonFiniteError("\n".join(failures))
    return 0


def _unfinished(ablation: Ablation, planned: Plan) -> list[Trial]:
    return [trial for trial in planned.trials if stored(trial.workdir, ablation.measures) is None]


def _train(title: str, config: Config, workdir: Path) -> int:
    """Trains a run, and before it those of its stages that are its own, each from where it is.

    Args:
      title: Shown above, if there is something to train.
      config: Of the run.
      workdir: Its folder.

    Returns:
      The signal that stopped it, or came too late for that: what comes after must not begin.
    """
    _release()
    sessions = prepare(config, workdir)
    for session in reversed(sessions):
        session.claim()
    todo = [session for session in sessions if not session.finished]
    if todo:
        print(f"== {title}: {workdir}", flush=True)
    for session in todo:
        session.train()
        if session.outcome is not None and session.outcome.signal:
            return session.outcome.signal
    return 0


def _state(workdir: Path) -> str:
    step = latest_step(workdir)
    return f"after step {step}" if step else "not begun"


def _ended(stage: Shared) -> bool:
    """Whether a shared stage is at its end, and was measured there."""
    if not latest_step(stage.workdir):
        return False
    return any(
        record["kind"] == "eval" and record["epoch"] >= stage.config.epochs for record in read_log(stage.workdir)
    )


def _release() -> None:
    """Frees what the runs before compiled and loaded: the next one needs the memory."""
    jax.clear_caches()
    gc.collect()
