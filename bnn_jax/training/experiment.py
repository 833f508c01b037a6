"""From a config to everything a run is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import optax
from jax import Array

from bnn_jax import losses
from bnn_jax.binarizers.base import Params
from bnn_jax.config import Config, LossConfig
from bnn_jax.config.component import within
from bnn_jax.data import DatasetInfo, Splits, augment, example_keys, normalize
from bnn_jax.data import steps_per_epoch as count_steps
from bnn_jax.inspect import LayerInfo, binary_layers, trace_layers
from bnn_jax.training import latent, refusals, sources
from bnn_jax.training.eval_step import make_eval_step
from bnn_jax.training.examples import Opener, open_splits
from bnn_jax.training.optimizer import build_optimizer, learning_rates
from bnn_jax.training.parallel import parallelize
from bnn_jax.training.stages import is_stage
from bnn_jax.training.state import TrainState, init_state
from bnn_jax.training.step import AXIS, make_train_step


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
        return jax.jit(init)(_key(self.config.seed, 0))

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


def assemble(config: Config, find: Opener = open_splits) -> Experiment:
    """Builds an experiment, refusing what cannot run before any work is done.

    Args:
      config: The config.
      find: Opens its data.

    Raises:
      ValueError: For options out of range; the message names the field.
      FileNotFoundError: If the data is not there.
    """
    refusals.check_fields(config)
    splits = find(config.data)
    refusals.check_data(config, splits)
    info, steps = splits.info, count_steps(splits.train, config.data.batch_size)
    with within("model"):
        model: nn.Module = config.model.build(num_classes=info.num_classes)
    component = sources.teacher_network(config, None)
    with within("teacher.model"):
        teacher: nn.Module | None = component and component.build(num_classes=info.num_classes)
    terms: list[losses.Term] = []
    for place, loss in enumerate(config.losses):
        with within(f"losses[{place}]"):
            terms.append(_term(loss, config.epochs))
    learned = losses.init_params(terms)
    shapes = jax.eval_shape(
        lambda: init_state(
            model, optax.identity(), jax.random.key(0), info.image_shape, learned=learned, teacher=teacher
        )
    )
    refusals.check_losses(terms, model, teacher, shapes, info)
    traced = trace_layers(model, info.image_shape)
    layers = binary_layers(traced)
    optimizer = build_optimizer(config.optimizer, shapes.params, layers, epochs=config.epochs, steps_per_epoch=steps)
    train_step = make_train_step(
        synchronized(model),
        optimizer,
        terms,
        layers,
        _augmentation(config, info),
        key=_key(config.seed, 1),
        epochs=config.epochs,
        steps_per_epoch=steps,
        teacher=teacher,
    )
    eval_step = make_eval_step(model, partial(normalize, mean=info.mean, std=info.std))
    return Experiment(
        config,
        splits,
        model,
        traced,
        layers,
        optimizer,
        steps,
        learning_rates(config.optimizer, config.epochs),
        learned,
        teacher,
        parallelize(train_step, donate=True),
        parallelize(eval_step),
    )


def synchronized(model: nn.Module) -> nn.Module:
    """The same network with batch statistics taken over the mapped axis "batch"."""
    if not hasattr(model, "over_axis"):
        return model
    return model.over_axis(AXIS)


def _term(config: LossConfig, epochs: int) -> losses.Term:
    with within("term"):
        function = config.term.build()
    if config.schedule is None:
        return losses.Term(config.name, function, config.weight)
    with within("schedule"):
        schedule = config.schedule.build(epochs=epochs)
    return losses.Term(config.name, function, lambda progress: config.weight * schedule(progress * epochs))


def _augmentation(config: Config, info: DatasetInfo) -> Callable[[Array, Array, Array, Array], Array]:
    def apply(key: Array, step: Array, first: Array, images: Array) -> Array:
        keys = example_keys(key, step, first, images.shape[0])
        return augment(
            keys,
            images,
            crop_padding=config.data.crop_padding,
            flip=config.data.flip,
            lighting=config.data.lighting,
            mean=info.mean,
            std=info.std,
        )

    return apply


def _key(seed: int, stream: int) -> Array:
    return jax.random.fold_in(jax.random.key(seed), stream)
