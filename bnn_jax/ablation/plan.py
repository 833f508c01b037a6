"""The runs of an ablation: what each one is, where it lies, and what it takes from those that are shared."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

from bnn_jax.ablation.record import Ablation, check, slug, variant
from bnn_jax.config import Config, differences
from bnn_jax.training import stages


@dataclass(frozen=True)
class Shared:
    """A stage that is trained once: its name, its config as it is run, and its folder."""

    name: str
    config: Config
    workdir: Path


@dataclass(frozen=True)
class Trial:
    """A variant with a seed.

    Attributes:
      variant: Its name.
      seed: Its seed.
      recipe: Its config with all stages, as it would be run alone.
      config: Its config as it is run: what is shared lies in folders and is no stage any more.
      workdir: Its folder.
    """

    variant: str
    seed: int
    recipe: Config
    config: Config
    workdir: Path


@dataclass(frozen=True)
class Plan:
    """All runs of an ablation, in order: first `shared` stages, then `trials`, all variants for each seed."""

    shared: tuple[Shared, ...]
    trials: tuple[Trial, ...]


def plan(ablation: Ablation, workdir: Path) -> Plan:
    """The runs of an ablation in `workdir`: a shared stage in a folder of its name, others in `<variant>/seed<k>`.

    Raises:
      ValueError: If the ablation cannot be run, a variant names a field that does not exist, or variants differ in
        a stage that is shared.
    """
    check(ablation)
    recipes = {name: variant(ablation, name) for name in ablation.variants}
    # In the order of the stages, for one may build on another.
    names = [stage.name for stage in ablation.base.stages]
    folders = {name: workdir / name for name in names if name in ablation.shared}
    trials = []
    for seed in ablation.seeds:
        for name, recipe in recipes.items():
            own = _seeded(recipe, seed, ablation.shared)
            folder = workdir / slug(name) / f"seed{seed}"
            trials.append(Trial(name, seed, own, detached(own, folder, folders), folder))
    return Plan(_shared(recipes, folders), tuple(trials))


def detached(config: Config, workdir: Path, folders: Mapping[str, Path]) -> Config:
    """A config, run in `workdir`, that takes from folders what it took from stages; those are its stages no more."""
    networks = {stage.name: stage.config.model for stage in config.stages}
    kept = [
        replace(stage, config=_redirected(stage.config, workdir / stage.name, folders, networks))
        for stage in config.stages
        if stage.name not in folders
    ]
    return _redirected(replace(config, stages=kept), workdir, folders, networks)


def _redirected(config: Config, workdir: Path, folders: Mapping[str, Path], networks: Mapping[str, object]) -> Config:
    teacher, start = config.teacher, config.init_from
    if teacher is not None and teacher.source in folders:
        # Which network it is must be known before there is a folder to read it from.
        model = networks[teacher.source] if teacher.model is None else teacher.model
        teacher = replace(teacher, source=stages.beside(folders[teacher.source], workdir), model=model)
    if start in folders:
        start = stages.beside(folders[start], workdir)
    return replace(config, teacher=teacher, init_from=start)


def _seeded(recipe: Config, seed: int, shared: tuple[str, ...]) -> Config:
    config = deepcopy(recipe)
    config.seed = seed
    for stage in config.stages:
        if stage.name not in shared:
            stage.config.seed = seed
    return config


def _shared(recipes: Mapping[str, Config], folders: Mapping[str, Path]) -> tuple[Shared, ...]:
    """The shared stages that some variant needs, which must be the same in all."""
    found: dict[str, tuple[str, Config]] = {}
    for name, recipe in recipes.items():
        for run in stages.plan(recipe, None)[:-1]:
            if run.name not in folders:
                continue
            other, config = found.setdefault(run.name, (name, run.config))
            changed = differences(config, run.config)
            if changed:
                raise ValueError(
                    f"the stage {run.name!r} is shared, but differs between the variants {other!r} and {name!r} "
                    f"({'; '.join(changed)}): take it out of `shared`, or leave it as it is"
                )
    return tuple(
        Shared(name, detached(found[name][1], folder, folders), folder)
        for name, folder in folders.items()
        if name in found
    )
