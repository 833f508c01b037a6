"""From a config to everything a run is made of; what cannot run is refused first."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import optax
from jax import Array

from bnn_jax import losses
from bnn_jax.config import Config, LossConfig
from bnn_jax.config.component import within
from bnn_jax.data import DatasetInfo, augment, example_keys, normalize
from bnn_jax.data import steps_per_epoch as count_steps
from bnn_jax.inspect import binary_layers, trace_layers
from bnn_jax.training import refusals, sources
from bnn_jax.training.eval_step import make_eval_step
from bnn_jax.training.examples import Opener, open_splits
from bnn_jax.training.experiment import Experiment, key_of
from bnn_jax.training.optimizer import build_optimizer, learning_rates
from bnn_jax.training.parallel import parallelize
from bnn_jax.training.state import init_state
from bnn_jax.training.step import AXIS, make_train_step


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
        key=key_of(config.seed, 1),
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
