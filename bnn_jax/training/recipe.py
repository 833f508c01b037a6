"""The sessions of a recipe of several stages: all of them, and those that are still to be run."""

from pathlib import Path

from bnn_jax.config import Config
from bnn_jax.training.examples import opener
from bnn_jax.training.session import Session
from bnn_jax.training.stages import plan, references


def prepare(config: Config, workdir: Path | None, *, dry: bool = False) -> list[Session]:
    """The sessions of a recipe, in the order they are to be run; all are checked before the first is.

    With `dry` they can only be described, and a published set need not be there. Other arguments and errors as
    `Session` and `bnn_jax.training.stages.plan`.
    """
    sessions: list[Session] = []
    find = opener(dry=dry)
    for run in plan(config, workdir):
        before = sum(session.experiment.total_steps for session in sessions)
        try:
            sessions.append(Session(run.config, run.workdir, run.name, before, find))
        except (ValueError, FileNotFoundError) as error:
            if not run.name:
                raise
            place = [stage.name for stage in config.stages].index(run.name)
            raise type(error)(f"stage {run.name!r} (config.stages[{place}].config): {error}") from error
    kept = needed(sessions)
    for session in sessions:
        if session not in kept:
            why = "done" if session.finished else "not needed: what builds on it has begun"
            session.console.print(f"Stage {session.name!r} is {why}: {session.workdir}")
    return kept


def needed(sessions: list[Session]) -> list[Session]:
    """Of a recipe's stages those which are still to be run, and the last, which shows what there is.

    A stage is done when it is at its end, or when all that build on it have begun: a run keeps what it took.
    """
    kept = sessions[-1:]
    for session in reversed(sessions[:-1]):
        if not session.finished and any(session.name in references(later.config) and not later.begun for later in kept):
            kept.insert(0, session)
    return kept
