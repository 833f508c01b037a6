"""Weights from elsewhere: of a teacher, or to start from. From the folder of a run, or a file.

A file of weights is NumPy's `.npz`, an array for each variable under its path: "params/stem_conv/kernel".
"""

import zipfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from bnn_jax.config import Config
from bnn_jax.inspect import get, learned_names, put
from bnn_jax.training.checkpoint import CHECKPOINTS, Checkpoints
from bnn_jax.training.examples import Opener, open_splits
from bnn_jax.training.latent import Layers
from bnn_jax.training.stages import is_stage, locate, teacher_source
from bnn_jax.training.state import init_variables, without_losses
from bnn_jax.training.workdir import CONFIG, read_config

COLLECTIONS = ("params", "batch_stats", "memory")
Variables = dict[str, Any]
Keys = tuple[str, ...]


def teacher_network(config: Config, workdir: Path | None) -> Any:
    """The component of the teacher's network; None without a teacher.

    A run which has begun knows it from its own folder, whatever became of the teacher's.

    Raises:
      FileNotFoundError: If the teacher's source is neither a stage, nor a run, nor a file.
      ValueError: If it is a file, and the config does not say of which network.
    """
    source = teacher_source(config)
    if config.teacher is None or not source:
        return None
    if config.teacher.checkpoint not in CHECKPOINTS:
        raise ValueError(f"teacher.checkpoint: expected one of {CHECKPOINTS}, found {config.teacher.checkpoint!r}")
    if config.teacher.model is not None:
        return config.teacher.model
    if is_stage(source, config):
        return next(stage.config.model for stage in config.stages if stage.name == source)
    if workdir is not None and (workdir / CONFIG).is_file():
        stored = read_config(workdir).teacher
        if stored is not None and stored.source == source and stored.model is not None:
            return stored.model
    path = locate(source, config, workdir or Path())
    _require(path, "teacher.source", config)
    if path.is_file():
        raise ValueError(f"teacher.source = {source!r} is a file of weights: teacher.model must say of which network")
    return read_config(path).model


def with_teacher_network(config: Config, workdir: Path | None) -> Config:
    """The config, saying itself which network its teacher is: what is stored then needs no other folder.

    Raises as `teacher_network`.
    """
    network = teacher_network(config, workdir)
    if config.teacher is None or network is None:
        return config
    return replace(config, teacher=replace(config.teacher, model=network))


def load(source: str, config: Config, workdir: Path, *, checkpoint: str, field: str) -> Variables:
    """Variables of a network, `{"params": ..., "batch_stats": ..., "memory": ...}`, on the host.

    Args:
      source: Name of a stage, folder of a run, or file.
      config: The config that names it.
      workdir: Folder of that config.
      checkpoint: Of a run: "best" (where none was measured, the last) or "last".
      field: Of the config, for messages.

    Raises:
      FileNotFoundError: If there is nothing.
      ValueError: If there is no checkpoint, or the file is none of weights.
    """
    path = locate(source, config, workdir)
    _require(path, field, config)
    return _load_file(path) if path.is_file() else _load_run(path, checkpoint)


def named(source: str, config: Config, field: str) -> str:
    """How messages call weights from elsewhere."""
    own = " (a stage, with a network and data of its own: what is set here must be set there)"
    return f"{field} = {source!r}{own if is_stage(source, config) else ''}"


def stand_in(source: str, config: Config, find: Opener = open_splits) -> Variables:
    """Zeros for the variables that the stage `source` will have, to check what is to be done with them.

    Raises as `bnn_jax.training.examples.open_splits`.
    """
    stage = next(stage.config for stage in config.stages if stage.name == source)
    info = find(stage.data).info
    network = stage.model.build(num_classes=info.num_classes)
    return zeros(jax.eval_shape(lambda: init_variables(network, jax.random.key(0), info.image_shape)))


def zeros(like: Any) -> Any:
    """Host arrays of zeros of the shapes and dtypes in a tree."""
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)


def save(path: Path, variables: Mapping[str, Any]) -> None:
    """Writes variables as a file of weights."""
    flat = traverse_util.flatten_dict({name: variables.get(name, {}) for name in COLLECTIONS}, sep="/")
    arrays: Any = {name: np.asarray(value) for name, value in flat.items()}
    np.savez(path, **arrays)


def fit(
    found: Mapping[str, Any], like: Mapping[str, Any], where: str, *, optional: frozenset[Keys] = frozenset()
) -> Variables:
    """`found`, checked to hold the variables of `like` in their shapes.

    Args:
      found: Variables as loaded.
      like: Variables (or, without `optional`, their shapes) of the network they are for.
      where: They come from, for messages.
      optional: Paths which either may lack; what `found` lacks is taken from `like`.

    Raises:
      ValueError: If they do not fit; names the variables.
    """
    have, want = _flat(found), _flat(like)
    lines = [f"{'/'.join(path)} is missing there" for path in want if path not in have and path not in optional]
    lines += [f"{'/'.join(path)} has no place here" for path in have if path not in want and path not in optional]
    lines += [
        f"{'/'.join(path)} has shape {tuple(have[path].shape)} there, {tuple(value.shape)} here"
        for path, value in want.items()
        if path in have and tuple(have[path].shape) != tuple(value.shape)
    ]
    if lines:
        more = f"\n  and {len(lines) - 8} more" if len(lines) > 8 else ""
        raise ValueError(f"the weights of {where} do not fit this network:\n  " + "\n  ".join(lines[:8]) + more)
    taken = {path: np.asarray(have.get(path, value), value.dtype) for path, value in want.items()}
    return _nested(taken)


def start_from(found: Mapping[str, Any], like: Variables, layers: Layers, where: str) -> Variables:
    """Initial variables with the weights of another network, perhaps one that is binarized otherwise.

    Layers, kernels, biases and statistics must be the same in name and shape. What activation binarizers learn is
    taken where both have it; what weight binarizers learn and remember is made anew from the weights.

    Args:
      found: Variables as loaded.
      like: Initial variables of this network.
      layers: Its binarized layers.
      where: They come from, for messages.

    Raises:
      ValueError: If they do not fit; names the variables.
    """
    want = _flat(like)
    learned = {
        ("params", *path, name)
        for path, binarizer in layers.items()
        for name in learned_names(binarizer, get(like["params"], (*path, "kernel")))
    }
    plain = {path: v for path, v in _flat(found).items() if path not in learned and path[0] != "memory"}
    beside = {path for path in (*plain, *want) if (*path[:-1], "kernel") in want and path[-1] not in ("kernel", "bias")}
    optional = learned | beside | {path for path in want if path[0] == "memory"}
    taken = fit(_nested(plain), like, where, optional=frozenset(optional))
    for path, binarizer in layers.items():
        kernel = get(taken["params"], (*path, "kernel"))
        for name, value in binarizer.init_params(kernel).items():
            taken["params"] = put(taken["params"], (*path, name), np.asarray(value))
        memory = binarizer.init_memory(kernel)
        if memory:
            taken["memory"] = put(taken["memory"], (*path, "binarizer"), jax.tree.map(np.asarray, dict(memory)))
    return taken


def _require(path: Path, field: str, config: Config) -> None:
    if path.exists():
        return
    stages = [stage.name for stage in config.stages]
    earlier = f", nor a stage before this one ({', '.join(stages)})" if stages else ""
    raise FileNotFoundError(f"{field} = {str(path)!r}: there is no such folder of a run or file of weights{earlier}")


def _flat(variables: Mapping[str, Any]) -> dict[Keys, Any]:
    """Variables by path, without what a loss learned."""
    own = {**variables, "params": without_losses(variables.get("params", {}))}
    return traverse_util.flatten_dict({name: own.get(name, {}) for name in COLLECTIONS})


def _nested(flat: Mapping[Keys, Any]) -> Variables:
    return {name: {} for name in COLLECTIONS} | traverse_util.unflatten_dict(flat)


def _load_run(path: Path, checkpoint: str) -> Variables:
    read_config(path)  # says so, if this is no run
    with closing(Checkpoints(path, read_only=True)) as checkpoints:
        return checkpoints.variables(checkpoints.step_of(checkpoint))


def _load_file(path: Path) -> Variables:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            flat = {tuple(name.split("/")): arrays[name] for name in arrays.files}
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a file of weights (.npz): {error}") from error
    strange = ["/".join(name) for name in flat if name[0] not in COLLECTIONS or len(name) < 2]
    if strange or not flat:
        raise ValueError(
            f"{path} is not a file of weights: names begin with {', '.join(COLLECTIONS)}, found {strange[:3] or 'none'}"
        )
    return _nested(flat)
