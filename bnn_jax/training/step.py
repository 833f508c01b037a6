"""One training step, as a function of one device's share of a batch.

It is written for a mapped axis called "batch": `parallel.parallelize` runs it over devices, and
`jax.vmap(axis_name="batch")` is its unit test.
"""

import re
from collections.abc import Callable, Sequence, Set
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.errors import ScopeCollectionNotFound, ScopeParamNotFoundError
from flax.traverse_util import flatten_dict
from jax import Array, lax

from bnn_jax import losses
from bnn_jax.layers import BINARY
from bnn_jax.training import latent
from bnn_jax.training.state import LOSSES, TrainState, keep_if, without_losses

AXIS = "batch"
PENALTIES = "binarizers"  # name of what binarizers add to the loss, among its terms
Batch = dict[str, Array]


class StepMetrics(NamedTuple):
    """What a training step reports, averaged over the global batch.

    Attributes:
      loss: Total loss, scalar.
      terms: Each term of the loss, unweighted, by name.
      accuracy: Share of right answers in [0, 1], scalar.
      finite: For each parameter (in the order of `jax.tree.leaves`) whether its gradient is finite, (n,).
      finite_loss: Whether the loss is, scalar.
      finite_state: Whether the parameters and running statistics after the step are, scalar.
    """

    loss: Array
    terms: dict[str, Array]
    accuracy: Array
    finite: Array
    finite_loss: Array
    finite_state: Array


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    terms: Sequence[losses.Term],
    layers: latent.Layers,
    augment: Callable[[Array, Array, Array, Array], Array],
    *,
    key: Array,
    epochs: int,
    steps_per_epoch: int,
    teacher: nn.Module | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]:
    """The training step.

    Args:
      model: The network; its batch norms must reduce over the axis "batch".
      optimizer: The optimizer.
      terms: Terms of the loss.
      layers: Weight binarizer of each binarized layer, by path.
      augment: `(key, step, first, images) -> images`, where `first` is the position of this device's
        first image in the global batch.
      key: Random key of the augmentation.
      epochs: Length of the run.
      steps_per_epoch: Steps in each epoch.
      teacher: Network of the teacher, whose variables are in the state; it sees the same images, once a step.

    Returns:
      `(state, batch) -> (state, metrics)` with `batch["image"]` uint8 (n, height, width, channels) and
      `batch["label"]` int32 (n,): one device's share. Where the loss, a gradient or the new state is
      not finite the returned state is the old one, marked unhealthy.
    """

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        progress = (state.step // steps_per_epoch) / epochs
        first = lax.axis_index(AXIS) * batch["label"].shape[0]
        images = augment(key, state.step, first, batch["image"])
        params = latent.project(state.params, layers, progress)
        taught = teach(teacher, state.teacher, images)

        exposed = latent.expose(params, state.memory, layers, progress)

        def loss_of(params: Any, binary: Any) -> tuple[Array, Any]:
            # The same on every device: its gradient needs no average.
            extra = latent.penalty(params, state.memory, layers, progress)
            params, binary = average_gradients((params, binary), AXIS)
            given = latent.withhold(params, layers)
            (logits, features), moved = _apply(
                model,
                {**state.variables, "params": given, "memory": exposed.memory, BINARY: binary},
                images,
                progress,
                withheld=set(flatten_dict(params)) - set(flatten_dict(given)),
            )
            own = without_losses(params)
            outputs = losses.Outputs(logits, batch["label"], features, own, progress, taught)
            loss, values = losses.total(terms, outputs, params.get(LOSSES, {}))
            return loss + extra, (logits, {**values, PENALTIES: extra}, moved)

        differentiate = jax.value_and_grad(loss_of, (0, 1), has_aux=True)
        (loss, (logits, values, moved)), (grads, slopes) = differentiate(params, exposed.binary)
        grads = latent.pull_back(exposed, grads, slopes)
        accuracy = jnp.mean(jnp.argmax(logits, -1) == batch["label"], dtype=jnp.float32)
        loss, values, accuracy = lax.pmean((loss, values, accuracy), AXIS)

        updates, opt_state = optimizer.update(grads, state.opt_state, params)
        updated = optax.apply_updates(params, updates)
        memory = latent.update_memory(moved.get("memory", {}), layers, params, updated, grads, slopes)

        # The same everywhere already, if the network's batch norms reduce over the axis.
        batch_stats = lax.pmean(moved.get("batch_stats", {}), AXIS)
        finite, finite_loss = _are_finite(grads), jnp.isfinite(loss)
        finite_state = jnp.all(_are_finite((updated, batch_stats, memory, opt_state)))
        healthy = state.healthy & finite_loss & jnp.all(finite) & finite_state
        new = TrainState(state.step + 1, updated, batch_stats, memory, opt_state, healthy, state.teacher)
        kept = keep_if(healthy, new, state.replace(healthy=healthy))
        return kept, StepMetrics(loss, values, accuracy, finite, finite_loss, finite_state)

    return train_step


def _apply(
    model: nn.Module, variables: dict[str, Any], images: Array, progress: Array, *, withheld: Set[tuple[str, ...]]
) -> Any:
    """Outputs of the network in training, and the collections it moved."""
    try:
        return model.apply(variables, images, train=True, progress=progress, mutable=["batch_stats", "memory"])
    except (ScopeParamNotFoundError, ScopeCollectionNotFound) as error:
        # Lifts are named too: /remat(block)/conv.
        text = re.sub(r"\w+\((\w+)\)", r"\1", str(error))
        if not any(f'"{name}"' in text and f'"/{"/".join(path)}"' in text for *path, name in withheld):
            raise
        raise ValueError(
            f"a layer binarizes its weights itself, whose binarizer needs the gradient of its code: {error} Have the "
            "layer read code and scale from the collection 'binary', as those of bnn_jax.layers do."
        ) from error


def average_gradients(tree: Any, axis_name: str) -> Any:
    """The tree as it is; gradients that come back to it are averaged over a mapped axis.

    A leaf which the loss does not depend on has nothing averaged.
    """
    return jax.tree.map(lambda leaf: _averaging(leaf, axis_name), tree)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _averaging(x: Array, axis_name: str) -> Array:
    del axis_name
    return x


def _averaging_fwd(x: Array, axis_name: str) -> tuple[Array, None]:
    del axis_name
    return x, None


def _averaging_bwd(axis_name: str, _: None, g: Array) -> tuple[Array]:
    return (lax.pmean(g, axis_name),)


_averaging.defvjp(_averaging_fwd, _averaging_bwd)


def teach(model: nn.Module | None, variables: dict[str, Any], images: Array) -> losses.Teacher | None:
    """What the teacher makes of the images, in evaluation mode and without gradient."""
    if model is None:
        return None
    outputs: Any = model.apply(variables, images, train=False, progress=1.0)
    logits, features = lax.stop_gradient(outputs)
    return losses.Teacher(logits, features, variables["params"])


def _are_finite(tree: Any) -> Array:
    """For each leaf whether all of it is finite, (leaves,)."""
    return jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)])
