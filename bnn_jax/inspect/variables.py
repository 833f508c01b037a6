"""The variables of one layer, in nested mappings such as Flax's collections."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jax import Array

from bnn_jax.binarizers import WeightBinarizer
from bnn_jax.inspect.layers import Path


def get(tree: Mapping[str, Any], path: Path) -> Any:
    """What lies at `path` in nested mappings.

    Raises:
      KeyError: If there is nothing; the message says how far the path leads, and what is there instead.
    """
    node: Any = tree
    for depth, key in enumerate(path):
        if not isinstance(node, Mapping) or key not in node:
            found = sorted(node) if isinstance(node, Mapping) else type(node).__name__
            raise KeyError(f"no {'/'.join(path)!r}: expected {key!r} under {'/'.join(path[:depth])!r}, found {found}")
        node = node[key]
    return node


def put(tree: Mapping[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """A copy of nested mappings with `value` at `path`; everything beside the path is shared, not copied."""
    if not path:
        raise ValueError("put needs a path of one or more keys")
    head, rest = path[0], path[1:]
    return {**tree, head: put(tree.get(head, {}), rest, value) if rest else value}


class Operands(NamedTuple):
    """What the functions of a `WeightBinarizer` take, for one layer: `(w, params, memory)`."""

    kernel: Array
    learned: Mapping[str, Array]
    memory: Mapping[str, Array]


def operands(params: Mapping[str, Any], memory: Mapping[str, Any], path: Path, binarizer: WeightBinarizer) -> Operands:
    """The latent weight of the layer at `path`, what its binarizer learns and what it remembers.

    Args:
      params: The collection "params".
      memory: The collection "memory"; may lack layers whose binarizer remembers nothing.
      path: Of the layer.
      binarizer: Of the layer.

    Raises:
      KeyError: If a parameter is missing.
    """
    kernel = get(params, (*path, "kernel"))
    learned = {name: get(params, (*path, name)) for name in learned_names(binarizer, kernel)}
    if not jax.eval_shape(binarizer.init_memory, kernel):
        return Operands(kernel, learned, {})
    return Operands(kernel, learned, get(memory, (*path, "binarizer")))


def learned_names(binarizer: WeightBinarizer, kernel: Array | jax.ShapeDtypeStruct) -> tuple[str, ...]:
    """Names of the parameters which a binarizer learns beside `kernel`."""
    return tuple(jax.eval_shape(binarizer.init_params, kernel))
