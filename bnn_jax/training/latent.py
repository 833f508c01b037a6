"""What weight binarizers do around a step, applied to every binarized layer of a network."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from bnn_jax.binarizers import Binary, Gradients, WeightBinarizer
from bnn_jax.binarizers.base import Progress
from bnn_jax.inspect import Path, get, learned_names, operands, put

Layers = Mapping[Path, WeightBinarizer]


class Exposed(NamedTuple):
    """Binary weights made outside of the layers, so that the loss can be differentiated with respect to them.

    Attributes:
      binary: The collection "binary": code and scale of each such layer; nested dict.
      memory: The collection "memory", moved on by making them.
      pull_backs: By path, the gradients with respect to code and scale to those of latent weight and learned values.
    """

    binary: Any
    memory: Any
    pull_backs: Mapping[Path, Callable[[Binary], Any]]


def project(params: Any, layers: Layers, progress: Progress) -> Any:
    """Replaces each binarized layer's latent weight by its projection."""
    for path, binarizer in layers.items():
        kernel = (*path, "kernel")
        params = put(params, kernel, binarizer.project(get(params, kernel), progress=progress))
    return params


def expose(params: Any, memory: Any, layers: Layers, progress: Progress) -> Exposed:
    """The binary weights of those layers whose binarizer needs the gradient of its code; of others nothing."""
    binary: Any = {}
    pull_backs = {}
    for path, binarizer in layers.items():
        if not binarizer.needs_code_gradient:
            continue
        kernel, learned, remembered = operands(params, memory, path, binarizer)

        def quantize(w: Array, p: Any, binarizer: WeightBinarizer = binarizer, memory: Any = remembered) -> Any:
            return binarizer.quantize(w, p, memory, train=True, progress=progress)

        made, pull_backs[path], moved = jax.vjp(quantize, kernel, learned, has_aux=True)
        binary = put(binary, path, made._asdict())
        if moved:
            memory = put(memory, (*path, "binarizer"), moved)
    return Exposed(binary, memory, pull_backs)


def withhold(params: Any, layers: Layers) -> Any:
    """Parameters without those that exposed binary weights are made of: no layer is to binarize these again."""
    for path, binarizer in layers.items():
        if binarizer.needs_code_gradient:
            layer = get(params, path)
            taken = ("kernel", *learned_names(binarizer, layer["kernel"]))
            params = put(params, path, {name: value for name, value in layer.items() if name not in taken})
    return params


def penalty(params: Any, memory: Any, layers: Layers, progress: Progress) -> Array:
    """The sum of what the binarizers add to the loss, scalar."""
    parts = (
        binarizer.penalty(*operands(params, memory, path, binarizer), progress=progress)
        for path, binarizer in layers.items()
    )
    return sum(parts, jnp.zeros(()))


def pull_back(exposed: Exposed, grads: Any, slopes: Any) -> Any:
    """Adds to the gradients of parameters what reaches them through exposed binary weights.

    Args:
      exposed: Of the step.
      grads: Gradients of the parameters that take no such way.
      slopes: Gradients with respect to `exposed.binary`.
    """
    for path, transpose in exposed.pull_backs.items():
        kernel, learned = transpose(Binary(**get(slopes, path)))
        for name, value in {"kernel": kernel, **learned}.items():
            grads = put(grads, (*path, name), get(grads, (*path, name)) + value)
    return grads


def update_memory(memory: Any, layers: Layers, old: Any, new: Any, grads: Any, slopes: Any) -> Any:
    """Moves each binarizer's memory on, after the optimizer took parameters from `old` to `new` by `grads`.

    Args:
      memory: The collection "memory".
      layers: Weight binarizer of each binarized layer, by path.
      old: Parameters before the update.
      new: Parameters after it.
      grads: Their gradients.
      slopes: Gradients with respect to the exposed binary weights.
    """
    for path, binarizer in layers.items():
        before, after, slope = (operands(tree, memory, path, binarizer) for tree in (old, new, grads))
        code = get(slopes, (*path, "code")) if binarizer.needs_code_gradient else None
        gradients = Gradients(slope.kernel, slope.learned, code)
        moved = binarizer.update(before.memory, before[:2], after[:2], gradients)
        if moved:
            memory = put(memory, (*path, "binarizer"), moved)
    return memory
