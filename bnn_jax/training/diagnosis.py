"""Where a step stopped being finite."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import keystr, tree_leaves, tree_leaves_with_path

from bnn_jax.data import normalize
from bnn_jax.training import latent
from bnn_jax.training.experiment import Experiment
from bnn_jax.training.state import TrainState
from bnn_jax.training.step import StepMetrics


class NonFiniteError(RuntimeError):
    """A loss or a gradient was infinite or not a number."""


def first_non_finite(model: nn.Module, state: TrainState, images: Array, layers: latent.Layers, progress: float) -> str:
    """The first layer whose output is not finite in a training forward pass; "" if all are.

    Args:
      model: The network, not synchronized over devices.
      state: The state to run it with.
      images: Normalized images (n, height, width, channels).
      layers: Weight binarizer of each binarized layer, by path.
      progress: Fraction of the run that is over.
    """
    found: list[str] = []

    def watch(next_method: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        outputs = next_method(*args, **kwargs)
        # The innermost module returns first, so the first to be found is the culprit.
        if not found and not all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in tree_leaves(outputs)):
            found.append("/".join(context.module.path))
        return outputs

    with nn.intercept_methods(watch):
        variables = {**state.variables, "params": latent.project(state.params, layers, progress)}
        model.apply(variables, images, train=True, progress=progress, mutable=["batch_stats", "memory"])
    return found[0] if found else ""


def non_finite_gradients(metrics: StepMetrics, params: Any) -> list[str]:
    """Paths of the parameters whose gradients were not finite."""
    paths = [path for path, _ in tree_leaves_with_path(params)]
    fine = np.asarray(jax.device_get(metrics.finite))
    return [
        "/".join(keystr((key,), simple=True) for key in path) for path, ok in zip(paths, fine, strict=True) if not ok
    ]


def explain(
    model: nn.Module,
    state: TrainState,
    metrics: StepMetrics,
    images: Array,
    layers: latent.Layers,
    progress: float,
) -> str:
    """One sentence on where the step that `metrics` report failed.

    Args:
      model: The network, not synchronized over devices.
      state: The last good state.
      metrics: Of the failed step.
      images: Its normalized images, without augmentation.
      layers: Weight binarizer of each binarized layer, by path.
      progress: Fraction of the run that is over.
    """
    layer = first_non_finite(model, state, images, layers, progress)
    if layer:
        return f"the output of layer {layer} is the first that is not finite"
    bad = non_finite_gradients(metrics, state.params)
    if not bad and metrics.finite_loss:
        return "loss and gradients are finite, but not the parameters or running statistics after the step"
    if not bad:
        return "every layer's output and gradient is finite, but the loss is not"
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return f"the forward pass is finite, but not the gradient of {', '.join(bad[:3])}{more}"


def non_finite(
    experiment: Experiment, state: TrainState, step: int, metrics: StepMetrics, images: np.ndarray
) -> NonFiniteError:
    """The error of a run whose step was not finite.

    Args:
      experiment: What is run.
      state: The last good state, which is saved.
      step: The failed step, counted from 1.
      metrics: Of the failed step.
      images: Its images as read.
    """
    good, info = int(state.step), experiment.splits.info
    reason = explain(
        experiment.model,
        state,
        metrics,
        normalize(jnp.asarray(images), info.mean, info.std),
        experiment.layers,
        experiment.progress(good),
    )
    return NonFiniteError(
        f"step {step} (epoch {(step - 1) // experiment.steps_per_epoch + 1}) is not finite: "
        f"{reason}. The state after step {good} is saved. "
        "A lower optimizer.learning_rate usually helps (another config, so in another workdir)."
    )
