"""The optimizer, built from config with optax: decay by rule, a transform, a rate per epoch."""

import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from bnn_jax.config import OptimizerConfig
from bnn_jax.config.component import within
from bnn_jax.inspect import Path, get, learned_names
from bnn_jax.training.latent import Layers
from bnn_jax.training.schedules import Schedule
from bnn_jax.training.state import LOSSES


def sgd(momentum: float = 0.9, nesterov: bool = False) -> optax.GradientTransformation:
    """Stochastic gradient descent with momentum (no dampening)."""
    return optax.trace(momentum, nesterov) if momentum else optax.identity()


def adam(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> optax.GradientTransformation:
    """Adam; weight decay is coupled (added to the gradient), as in the papers."""
    return optax.scale_by_adam(b1, b2, eps)


def decay_mask(params: Any, layers: Layers, config: OptimizerConfig) -> Any:
    """Which parameters weight decay applies to.

    All do, but for: binarized kernels and what their binarizers learn, unless `decay_binarized`; what terms of the
    loss learn; paths matching `no_decay`; and whatever matches `force_decay` does in any case. A path is written
    "layer/parameter" and matched anywhere (`re.search`).

    Args:
      params: Nested dict of parameters.
      layers: Weight binarizer of each binarized layer, by path.
      config: The rules.

    Returns:
      Nested dict of bools, shaped as `params`.

    Raises:
      ValueError: If a rule matches no parameter.
    """
    paths = list(traverse_util.flatten_dict(params))
    for field in ("no_decay", "force_decay"):
        rule = getattr(config, field)
        if rule and not any(re.search(rule, "/".join(path)) for path in paths):
            raise ValueError(
                f"optimizer.{field} = {rule!r} matches no parameter; they are {['/'.join(p) for p in paths]}"
            )

    exempt = {
        (*layer, name)
        for layer, binarizer in layers.items()
        for name in ("kernel", *learned_names(binarizer, get(params, (*layer, "kernel"))))
    }

    def decays(path: Path) -> bool:
        name = "/".join(path)
        if config.force_decay and re.search(config.force_decay, name):
            return True
        if config.no_decay and re.search(config.no_decay, name):
            return False
        return path[0] != LOSSES and (config.decay_binarized or path not in exempt)

    return traverse_util.unflatten_dict({path: decays(path) for path in paths})


def build_optimizer(
    config: OptimizerConfig, params: Any, layers: Layers, *, epochs: int, steps_per_epoch: int
) -> optax.GradientTransformation:
    """Decay, then transform, then the learning rate of the epoch.

    Args:
      config: The optimizer's config.
      params: Nested dict of parameters (or of their shapes).
      layers: Weight binarizer of each binarized layer, by path.
      epochs: Length of the run.
      steps_per_epoch: Steps in each epoch.

    Raises:
      ValueError: If the schedule cannot be that of a run of this length.
    """
    factor = _schedule(config, epochs)
    with within("optimizer.transform"):
        transform = config.transform.build()
    decay = optax.add_decayed_weights(config.weight_decay, decay_mask(params, layers, config))
    return optax.chain(
        decay if config.weight_decay else optax.identity(),
        transform,
        optax.scale_by_learning_rate(lambda step: config.learning_rate * factor(step // steps_per_epoch)),
    )


def _schedule(config: OptimizerConfig, epochs: int) -> Schedule:
    with within("optimizer.schedule"):
        made: Schedule = config.schedule.build(epochs=epochs)
    return made


def learning_rates(config: OptimizerConfig, epochs: int) -> tuple[float, ...]:
    """The learning rate of each epoch of a run.

    Raises:
      ValueError: As `build_optimizer`, and if the schedule is 0 in all of so few epochs.
    """
    factors = np.asarray(_schedule(config, epochs)(jnp.arange(epochs)), np.float64)
    if epochs and not factors.any():
        raise ValueError(
            f"optimizer.schedule is 0 in every epoch of a run of {epochs}: it would learn nothing. "
            "Train for more epochs, or change the schedule"
        )
    return tuple((config.learning_rate * factors).tolist())
