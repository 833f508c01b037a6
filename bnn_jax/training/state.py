"""The state of training: one plain pytree."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array

from bnn_jax.binarizers.base import Params

LOSSES = "losses"


class TrainState(struct.PyTreeNode):
    """All that a step reads and writes.

    Attributes:
      step: Finished steps, int32 scalar.
      params: Parameters, nested dict.
      batch_stats: Running statistics, nested dict.
      memory: What weight binarizers remember, nested dict.
      opt_state: State of the optimizer.
      teacher: Variables of the frozen teacher, nested dict; empty without one. Kept with the rest, so that a run can
        go on where its teacher's own folder is gone.
      healthy: Whether every step so far was finite, bool scalar. Once false, steps change nothing.
    """

    step: Array
    params: Any
    batch_stats: Any
    memory: Any
    opt_state: Any
    healthy: Array
    teacher: Any = struct.field(default_factory=dict)

    @property
    def variables(self) -> dict[str, Any]:
        """The collections a Flax module is applied to."""
        return {"params": self.params, "batch_stats": self.batch_stats, "memory": self.memory}


def init_variables(model: nn.Module, key: Array, image_shape: tuple[int, ...]) -> dict[str, Any]:
    """Initial variables of a model, with all three collections present even where empty."""
    variables = model.init(key, jnp.zeros((1, *image_shape)))
    return {"batch_stats": {}, "memory": {}, **variables}


def init_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    key: Array,
    image_shape: tuple[int, ...],
    *,
    learned: Mapping[str, Params] = MappingProxyType({}),
    teacher: nn.Module | None = None,
) -> TrainState:
    """The state before the first step.

    Args:
      model: The network.
      optimizer: The optimizer.
      key: Random key of the initialization.
      image_shape: (height, width, channels).
      learned: Initial parameters of the terms of the loss which learn, by name; kept under `LOSSES` in `params`.
      teacher: The teacher's network, if there is one.

    Raises:
      ValueError: If the loss learns, and the network has a module of the name `LOSSES`.
    """
    variables = init_variables(model, key, image_shape)
    params = dict(variables["params"])
    if learned and LOSSES in params:
        raise ValueError(f"the network has a module {LOSSES!r}, where parameters of the loss are kept: rename it")
    if learned:
        params[LOSSES] = {name: dict(values) for name, values in learned.items()}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables["batch_stats"],
        memory=variables["memory"],
        opt_state=optimizer.init(params),
        healthy=jnp.ones((), jnp.bool_),
        teacher=init_variables(teacher, key, image_shape) if teacher else {},
    )


def without_losses(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters without what terms of the loss learn."""
    return {name: value for name, value in params.items() if name != LOSSES}


def keep_if(flag: Array, new: Any, old: Any) -> Any:
    """`new` where `flag` (a bool scalar) holds, else `old`, leaf by leaf."""
    return jax.tree.map(lambda n, o: jnp.where(flag, n, o), new, old)
