"""What weight binarizers do around a step, applied to every binarized layer of a network."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from bnn_jax.binarizers import WeightBinarizer
from bnn_jax.binarizers.base import Progress
from bnn_jax.inspect import Path, get, operands, put

Layers = Mapping[Path, WeightBinarizer]


def project(params: Any, layers: Layers, progress: Progress) -> Any:
    """Replaces each binarized layer's latent weight by its projection."""
    for path, binarizer in layers.items():
        kernel = (*path, "kernel")
        params = put(params, kernel, binarizer.project(get(params, kernel), progress=progress))
    return params


def penalty(params: Any, memory: Any, layers: Layers, progress: Progress) -> Array:
    """The sum of what the binarizers add to the loss, scalar."""
    parts = (
        binarizer.penalty(*operands(params, memory, path, binarizer), progress=progress)
        for path, binarizer in layers.items()
    )
    return sum(parts, jnp.zeros(()))


def update_memory(memory: Any, layers: Layers, old: Any, new: Any, grads: Any) -> Any:
    """Moves each binarizer's memory on, after the optimizer took parameters from `old` to `new` by `grads`."""
    for path, binarizer in layers.items():
        before, after, slopes = (operands(tree, memory, path, binarizer) for tree in (old, new, grads))
        moved = binarizer.update(before.memory, before[:2], after[:2], slopes[:2])
        if moved:
            memory = put(memory, (*path, "binarizer"), moved)
    return memory
