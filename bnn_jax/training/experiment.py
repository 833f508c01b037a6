"""Everything a run is made of, as one record."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import optax
from jax import Array

from bnn_jax.binarizers.base import Params
from bnn_jax.config import Config
from bnn_jax.data import Splits
from bnn_jax.inspect import LayerInfo
from bnn_jax.training import latent, sources
from bnn_jax.training.examples import Opener, open_splits
from bnn_jax.training.stages import is_stage
from bnn_jax.training.state import TrainState, init_state


@dataclass(frozen=True)
class Experiment:
    """A config brought to life.

    Attributes:
      config: The config.
      splits: Training and test examples.
      model: The network.
      traced: Its layers.
      layers: Weight binarizer of each binarized layer, by path.
      optimizer: The optimizer.
      steps_per_epoch: Steps in each epoch; the examples which do not fill a batch are left out of it.
      learning_rates: Learning rate of each epoch.
      learned: Initial parameters of the terms of the loss which learn, by name.
      teacher: The teacher's network, if there is one.
      train_step: `(state, batch) -> (state, metrics)` over all devices; donates its state.
      eval_step: `(variables, batch) -> Counts` over all devices.
    """

    config: Config
    splits: Splits
    model: nn.Module
    traced: tuple[LayerInfo, ...]
    layers: latent.Layers
    optimizer: optax.GradientTransformation
    steps_per_epoch: int
    learning_rates: tuple[float, ...]
    learned: Mapping[str, Params]
    teacher: nn.Module | None
    train_step: Callable[..., Any]
    eval_step: Callable[..., Any]

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.config.epochs * self.steps_per_epoch

    def init_state(self) -> TrainState:
        """A random state before the first step, on the host's default device; the same for the same seed."""
        init = partial(
            init_state,
            self.model,
            self.optimizer,
            image_shape=self.splits.info.image_shape,
            learned=self.learned,
            teacher=self.teacher,
        )
        return jax.jit(init)(key_of(self.config.seed, 0))

    def start_state(
        self, workdir: Path, *, taught: bool = True, rehearsal: bool = False, find: Opener = open_splits
    ) -> TrainState:
        """The state training starts from: random, but for weights that the config takes from elsewhere.

        Args:
          workdir: The folder of the run, where its stages lie.
          taught: Whether to load the teacher's weights; they are random otherwise.
          rehearsal: Whether only to see if all fits. Zeros stand in for random weights, which take their time to
            compile, and for those of stages, which may not have been run yet.
          find: Opens the data of those stages.

        Raises:
          FileNotFoundError: If those weights are not there.
          ValueError: If they do not fit; names the variables.
        """
        state = sources.zeros(self.abstract_state()) if rehearsal else self.init_state()
        config = self.config

        def load(source: str, checkpoint: str, field: str) -> sources.Variables:
            if rehearsal and is_stage(source, config):
                return sources.stand_in(source, config, find)
            return sources.load(source, config, workdir, checkpoint=checkpoint, field=field)

        if taught and config.teacher is not None and self.teacher is not None:
            source = config.teacher.source
            found = load(source, config.teacher.checkpoint, "teacher.source")
            state = state.replace(
                teacher=sources.fit(found, state.teacher, sources.named(source, config, "teacher.source"))
            )
        if config.init_from:
            found = load(config.init_from, "last", "init_from")
            where = sources.named(config.init_from, config, "init_from")
            taken = sources.start_from(found, state.variables, self.layers, where)
            params = {**state.params, **taken.pop("params")}
            state = state.replace(params=params, opt_state=self.optimizer.init(params), **taken)
        return state

    def abstract_state(self) -> TrainState:
        """Shapes and dtypes of the state."""
        return jax.eval_shape(self.init_state)

    def progress(self, step: int) -> float:
        """Fraction of the run that is over when a step is taken, the same throughout an epoch."""
        return step // self.steps_per_epoch / self.config.epochs

    def is_evaluated(self, step: int) -> bool:
        """Whether the network is to be evaluated after so many steps."""
        epoch, within = divmod(step, self.steps_per_epoch)
        due = epoch > 0 and not within and epoch % self.config.run.eval_every == 0
        return due or step == self.total_steps


def key_of(seed: int, stream: int) -> Array:
    """The key of one of a run's streams of random numbers: 0 of the state, 1 of the steps."""
    return jax.random.fold_in(jax.random.key(seed), stream)
