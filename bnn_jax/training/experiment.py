"""From a config to everything a run is made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array

from bnn_jax import losses
from bnn_jax.binarizers.base import Params
from bnn_jax.config import Config, LossConfig
from bnn_jax.data import DatasetInfo, Splits, augment, example_keys, normalize
from bnn_jax.data import steps_per_epoch as count_steps
from bnn_jax.inspect import LayerInfo, binary_layers, trace_layers
from bnn_jax.training import latent, sources
from bnn_jax.training.eval_step import make_eval_step
from bnn_jax.training.examples import Opener, open_splits
from bnn_jax.training.optimizer import build_optimizer, learning_rates
from bnn_jax.training.parallel import check_batch_size, parallelize
from bnn_jax.training.stages import is_stage
from bnn_jax.training.state import LOSSES, TrainState, init_state, without_losses
from bnn_jax.training.step import AXIS, PENALTIES, make_train_step, teach


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
          rehearsal: Whether random weights stand in for those of stages, which may not have been run yet.
          find: Opens the data of those stages.

        Raises:
          FileNotFoundError: If those weights are not there.
          ValueError: If they do not fit; names the variables.
        """
        state, config = self.init_state(), self.config

        def load(source: str, checkpoint: str, field: str) -> sources.Variables:
            if rehearsal and is_stage(source, config):
                return sources.stand_in(source, config, find)
            return sources.load(source, config, workdir, checkpoint=checkpoint, field=field)

        if taught and config.teacher is not None and self.teacher is not None:
            source = config.teacher.source
            found = load(source, config.teacher.checkpoint, "teacher.source")
            state = state.replace(teacher=sources.fit(found, state.teacher, source))
        if config.init_from:
            found = load(config.init_from, "last", "init_from")
            taken = sources.start_from(found, state.variables, self.layers, config.init_from)
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
    _check(config)
    splits = find(config.data)
    _check_crops(config, splits)
    info = splits.info
    _check_colours(config, info)
    steps = count_steps(splits.train, config.data.batch_size)
    if steps < 1:
        raise ValueError(
            f"data.batch_size = {config.data.batch_size} exceeds the {len(splits.train)} training examples of "
            f"{info.name}: use a smaller one"
        )
    model: nn.Module = config.model.build(num_classes=info.num_classes)
    component = sources.teacher_network(config, None)
    teacher: nn.Module | None = component and component.build(num_classes=info.num_classes)
    terms = [_term(loss, config.epochs) for loss in config.losses]
    learned = losses.init_params(terms)
    shapes = jax.eval_shape(
        lambda: init_state(
            model, optax.identity(), jax.random.key(0), info.image_shape, learned=learned, teacher=teacher
        )
    )
    _check_losses(terms, model, teacher, shapes, info)
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


def _check(config: Config) -> None:
    for name, value in (("epochs", config.epochs), ("run.log_every", config.run.log_every)):
        if value < 1:
            raise ValueError(f"{name} must be 1 or more, found {value}")
    for name in ("eval_every", "checkpoint_every"):
        if getattr(config.run, name) < 1:
            raise ValueError(f"run.{name} must be 1 or more epochs, found {getattr(config.run, name)}")
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


def _check_crops(config: Config, splits: Splits) -> None:
    if config.data.crop_padding and hasattr(splits.train, "draw"):
        raise ValueError(
            f"data.crop_padding must be 0, found {config.data.crop_padding}: {splits.info.name} shows random parts of "
            "its images already"
        )


def _check_colours(config: Config, info: DatasetInfo) -> None:
    if config.data.lighting and info.image_shape[-1] != 3:
        raise ValueError(
            f"data.lighting must be 0, found {config.data.lighting}: images of {info.name} have "
            f"{info.image_shape[-1]} channels, not red, green and blue"
        )


def _check_losses(
    terms: Sequence[losses.Term], model: nn.Module, teacher: nn.Module | None, shapes: TrainState, info: DatasetInfo
) -> None:
    """Evaluates the loss on shapes alone, where terms refuse what they cannot work with."""

    def loss(state: TrainState) -> Array:
        images, labels = jnp.zeros((2, *info.image_shape)), jnp.zeros(2, jnp.int32)
        outputs: Any = model.apply(state.variables, images, train=False, progress=0.0)
        taught = teach(teacher, state.teacher, images)
        seen = losses.Outputs(outputs[0], labels, outputs[1], without_losses(state.params), 0.0, taught)
        return losses.total(terms, seen, state.params.get(LOSSES, {}))[0]

    shape = jax.eval_shape(loss, shapes).shape
    if shape:
        raise ValueError(f"the loss must be a scalar, its terms have shape {shape}")


def _term(config: LossConfig, epochs: int) -> losses.Term:
    function = config.term.build()
    if config.schedule is None:
        return losses.Term(config.name, function, config.weight)
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
