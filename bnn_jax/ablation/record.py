"""An ablation as data: a mutable dataclass, so that the command line can override the experiment inside."""

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnn_jax.config import Config, override
from bnn_jax.config.component import nearest

Measure = Callable[[Path], dict[str, float]]  # folder of a finished run -> numbers by name


@dataclass
class Ablation:
    """Variants of an experiment which differ in a few fields, each run with several seeds.

    A config file in `configs/ablations/` returns one from `get_config()`.
    """

    base: Config  # the experiment
    variants: dict[str, dict[str, Any]]  # by name: fields of the experiment to be set, by path ("losses[1].weight")
    seeds: tuple[int, ...] = (0, 1, 2)  # of each variant; stages that are not shared are trained with these too
    shared: tuple[str, ...] = ()  # stages that are trained once for all runs, with the seed their own config has
    measures: tuple[Measure, ...] = ()  # functions of a finished run's folder, beside its test accuracy


def check(ablation: Ablation) -> None:
    """Refuses an ablation that cannot be run whatever its experiment is.

    Raises:
      ValueError: Says what was expected and found.
    """
    if not ablation.variants or not ablation.seeds:
        raise ValueError(
            "an ablation needs one variant and one seed at least, found "
            f"{len(ablation.variants)} variants and {len(ablation.seeds)} seeds"
        )
    bad = [seed for seed in ablation.seeds if type(seed) is not int or seed < 0]
    if bad or len(set(ablation.seeds)) < len(ablation.seeds):
        raise ValueError(f"seeds must be different whole numbers of 0 or more, found {ablation.seeds}")
    stages = [stage.name for stage in ablation.base.stages]
    for name in ablation.shared:
        if name not in stages:
            raise ValueError(f"shared: the experiment has no stage {name!r}{nearest(name, stages)}; it has {stages}")
    names = [measure_name(measure) for measure in ablation.measures]
    if len(set(names)) < len(names):
        raise ValueError(f"measures must be functions of different names, found {names}")
    folders: dict[str, str] = {}
    for name in (*ablation.shared, *ablation.variants):
        folder = slug(name)
        if not folder:
            raise ValueError(f"variant {name!r} cannot name a folder: use letters or digits")
        # Some file systems do not tell upper case from lower.
        other = folders.setdefault(folder.casefold(), name)
        if other != name or (name in ablation.shared and name in ablation.variants):
            raise ValueError(f"{other!r} and {name!r} would share the folder {folder!r}: choose names that differ more")


def variant(ablation: Ablation, name: str) -> Config:
    """The experiment with a variant's fields set, a copy.

    Raises:
      ValueError: For a field that does not exist, or a value that is not of its type.
    """
    config = deepcopy(ablation.base)
    for path, value in ablation.variants[name].items():
        if path == "seed":
            raise ValueError(f"variant {name!r} sets the seed: list seeds in `seeds`, which all variants are run with")
        try:
            override(config, path, deepcopy(value))
        except ValueError as error:
            raise ValueError(f"variant {name!r}: {error}") from None
    return config


def slug(name: str) -> str:
    """A name of a variant as that of a folder: `alpha = 0.8` gives `alpha_0.8`."""
    return re.sub(r"[^\w.+-]+", "_", name).strip("_.")


def measure_name(measure: Measure) -> str:
    """The name a measure's numbers are stored under.

    Raises:
      ValueError: If it has none.
    """
    name: str = getattr(measure, "__name__", "")
    if not name.isidentifier():
        raise ValueError(f"a measure must be a function that was defined by name, found {measure!r}")
    return name
