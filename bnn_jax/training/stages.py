"""Recipes of several stages: which runs an experiment needs before its own, and where each one lies."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from bnn_jax.config import Config, StageConfig
from bnn_jax.training.workdir import CONFIG

RESERVED = ("checkpoints", "checkpoints_replaced", "tensorboard")  # folders of a run
HERE = "{workdir}"  # begins a path from the folder of the run


@dataclass(frozen=True)
class Run:
    """One stage of a recipe.

    Attributes:
      name: Of the stage; "" for the experiment itself, which comes last.
      config: Its config. Those stages which it takes weights from are among its own.
      workdir: Its folder; None where nothing is to be written.
    """

    name: str
    config: Config
    workdir: Path | None


def plan(config: Config, workdir: Path | None) -> list[Run]:
    """The runs of an experiment, in order: of its stages those which a later one refers to, then itself.

    Stages lie inside the experiment's folder: "teacher" in `workdir/teacher`.

    Raises:
      ValueError: If stages share a name, a name is no folder's, or a stage has stages itself.
    """
    stages = config.stages
    names = [stage.name for stage in stages]
    if len(set(names)) < len(names):
        raise ValueError(f"stages must have different names, found {names}")
    for stage in stages:
        if not stage.name.isidentifier() or stage.name in RESERVED:
            raise ValueError(f"stage {stage.name!r} cannot name the folder of a run: use letters, digits and _")
        if stage.config.stages:
            raise ValueError(f"stage {stage.name!r} has stages itself: list them all in the config they lead to")
    runs, needed = [Run("", config, workdir)], set(references(config))
    for i, stage in reversed(list(enumerate(stages))):
        if stage.name in needed:
            own = replace(stage.config, stages=_referred(stages[:i], stage.config))
            runs.insert(0, Run(stage.name, own, workdir / stage.name if workdir else None))
            needed |= set(references(own))
    return runs


def references(config: Config) -> list[str]:
    """What a config takes weights from: names of stages, folders of runs, files."""
    return [source for source in (config.init_from, teacher_source(config)) if source]


def teacher_source(config: Config) -> str:
    """Where the teacher's weights come from; "" without a teacher."""
    return config.teacher.source if config.teacher else ""


def is_stage(source: str, config: Config) -> bool:
    """Whether an earlier stage of the same recipe provides `source`."""
    return any(stage.name == source for stage in config.stages)


def beside(folder: Path, workdir: Path) -> str:
    """What a config that runs in `workdir` calls another folder so that both may be moved together."""
    return f"{HERE}/{Path(os.path.relpath(folder, workdir)).as_posix()}"


def locate(source: str, config: Config, workdir: Path) -> Path:
    """The folder or file which `source` stands for in a config that runs in `workdir`."""
    if source.startswith(f"{HERE}/"):
        return Path(os.path.normpath(workdir / source.removeprefix(f"{HERE}/")))
    if not is_stage(source, config):
        return Path(source)
    # A stage's own predecessors lie beside it.
    inside, outside = workdir / source, workdir.parent / source
    return outside if not inside.exists() and (outside / CONFIG).exists() else inside


def _referred(stages: list[StageConfig], config: Config) -> list[StageConfig]:
    return [stage for stage in stages if stage.name in references(config)]
