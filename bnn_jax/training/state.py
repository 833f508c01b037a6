"""The state of training: one plain pytree."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array


class TrainState(struct.PyTreeNode):
    """All that a step reads and writes.

    Attributes:
      step: Finished steps, int32 scalar.
      params: Parameters, nested dict.
      batch_stats: Running statistics, nested dict.
      memory: What weight binarizers remember, nested dict.
      opt_state: State of the optimizer.
      healthy: Whether every step so far was finite, bool scalar. Once false, steps change nothing.
    """

    step: Array
    params: Any
    batch_stats: Any
    memory: Any
    opt_state: Any
    healthy: Array

    @property
    def variables(self) -> dict[str, Any]:
        """The collections a Flax module is applied to."""
        return {"params": self.params, "batch_stats": self.batch_stats, "memory": self.memory}


def init_variables(model: nn.Module, key: Array, image_shape: tuple[int, ...]) -> dict[str, Any]:
    """Initial variables of a model, with all three collections present even where empty."""
    variables = model.init(key, jnp.zeros((1, *image_shape)))
    return {"batch_stats": {}, "memory": {}, **variables}


def init_state(
    model: nn.Module, optimizer: optax.GradientTransformation, key: Array, image_shape: tuple[int, ...]
) -> TrainState:
    """The state before the first step.

    Args:
      model: The network.
      optimizer: The optimizer.
      key: Random key of the initialization.
      image_shape: (height, width, channels).
    """
    variables = init_variables(model, key, image_shape)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        memory=variables["memory"],
        opt_state=optimizer.init(variables["params"]),
        healthy=jnp.ones((), jnp.bool_),
    )


def keep_if(flag: Array, new: Any, old: Any) -> Any:
    """`new` where `flag` (a bool scalar) holds, else `old`, leaf by leaf."""
    return jax.tree.map(lambda n, o: jnp.where(flag, n, o), new, old)
