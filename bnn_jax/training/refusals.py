"""What cannot be run is refused before any work is done, by the name of the field that says so."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from bnn_jax import losses
from bnn_jax.config import Config
from bnn_jax.data import DatasetInfo, Splits, steps_per_epoch
from bnn_jax.training.parallel import check_batch_size
from bnn_jax.training.state import LOSSES, TrainState, without_losses
from bnn_jax.training.step import PENALTIES, teach


def check_fields(config: Config) -> None:
    """Refuses values out of range.

    Raises:
      ValueError: Names the field.
    """
    for name, value in (("epochs", config.epochs), ("run.log_every", config.run.log_every)):
        if value < 1:
            raise ValueError(f"{name} must be 1 or more, found {value}")
    for name in ("eval_every", "checkpoint_every"):
        if getattr(config.run, name) < 1:
            raise ValueError(f"run.{name} must be 1 or more epochs, found {getattr(config.run, name)}")
    if config.run.telemetry_every in (1, 2) or config.run.telemetry_every < 0:
        raise ValueError(
            "run.telemetry_every must be 3 or more steps (three successive ones are compared), or 0 for none, found "
            f"{config.run.telemetry_every}"
        )
    if config.run.read_threads < 0:
        raise ValueError(f"run.read_threads must be 0 or more, found {config.run.read_threads}")
    if config.seed < 0:
        raise ValueError(f"seed must be 0 or more, found {config.seed}")
    if config.data.crop_padding < 0:
        raise ValueError(f"data.crop_padding must be 0 or more pixels, found {config.data.crop_padding}")
    if config.data.lighting < 0:
        raise ValueError(f"data.lighting must be 0 or more, found {config.data.lighting}")
    if not config.losses:
        raise ValueError("losses holds no term: there is nothing to minimize")
    names = [loss.name for loss in config.losses]
    if len(set(names)) < len(names):
        raise ValueError(f"losses must have different names, found {names}")
    if PENALTIES in names:
        raise ValueError(
            f"a loss cannot be named {PENALTIES!r}: what binarizers add to the loss is reported under that"
        )
    check_batch_size(config.data.batch_size, "data.batch_size")
    check_batch_size(config.data.eval_batch_size, "data.eval_batch_size")


def check_data(config: Config, splits: Splits) -> None:
    """Refuses options of the data that its examples do not allow.

    Raises:
      ValueError: Names the field.
    """
    info = splits.info
    if config.data.crop_padding and hasattr(splits.train, "draw"):
        raise ValueError(
            f"data.crop_padding must be 0, found {config.data.crop_padding}: {info.name} shows random parts of "
            "its images already"
        )
    if config.data.lighting and info.image_shape[-1] != 3:
        raise ValueError(
            f"data.lighting must be 0, found {config.data.lighting}: images of {info.name} have "
            f"{info.image_shape[-1]} channels, not red, green and blue"
        )
    if steps_per_epoch(splits.train, config.data.batch_size) < 1:
        raise ValueError(
            f"data.batch_size = {config.data.batch_size} exceeds the {len(splits.train)} training examples of "
            f"{info.name}: use a smaller one"
        )


def check_losses(
    terms: Sequence[losses.Term], model: nn.Module, teacher: nn.Module | None, shapes: TrainState, info: DatasetInfo
) -> None:
    """Evaluates the loss on shapes alone, where terms refuse what they cannot work with.

    Args:
      terms: Of the loss.
      model: The network.
      teacher: Its teacher; None without one.
      shapes: Of the state.
      info: Facts about the data.

    Raises:
      ValueError: If the loss is no scalar, and whatever the terms raise.
    """

    def loss(state: TrainState) -> Array:
        images, labels = jnp.zeros((2, *info.image_shape)), jnp.zeros(2, jnp.int32)
        outputs: Any = model.apply(state.variables, images, train=False, progress=0.0)
        taught = teach(teacher, state.teacher, images)
        seen = losses.Outputs(outputs[0], labels, outputs[1], without_losses(state.params), 0.0, taught)
        return losses.total(terms, seen, state.params.get(LOSSES, {}))[0]

    shape = jax.eval_shape(loss, shapes).shape
    if shape:
        raise ValueError(f"the loss must be a scalar, its terms have shape {shape}")
