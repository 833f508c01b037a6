"""The layers of a Flax model, found by tracing it: no arithmetic, no memory for arrays.

`trace_layers` works on any Flax Linen model, whether it uses this library's layers, stock ones or both;
nothing is registered anywhere.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.tree_util import keystr, tree_flatten_with_path, tree_leaves

from bnn_jax.binarizers import ActivationBinarizer, WeightBinarizer
from bnn_jax.inspect.calls import Call, Shape, kind_of, macs_of

Path = tuple[str, ...]


@dataclass(frozen=True)
class LayerInfo:
    """One layer: a module which owns parameters.

    Attributes:
      path: Where its variables lie in the collections, `("stage1_block1", "conv1")`.
      kind: "conv", "dense", "norm", "prelu", or the name of its class.
      weights: Its weight binarizer; None for full-precision weights.
      activations: The binarizer of its inputs; None for full-precision inputs.
      kernel_shape: Shape of its parameter `kernel`, if it has one.
      input_shape: Of one example, without the batch. `()` if the layer was never called with an array.
      output_shape: Of one example, without the batch.
      param_shapes: Shapes of the parameters it owns, by name.
      macs: Multiply-accumulates for one example, all its calls together. Counted for convolutions and dense
        layers; what a module multiplies by other means (attention scores, einsum) is not seen, and is 0.
      calls: How often one pass of the model calls it.
      stacked: Whether `kernel_shape` is that of several layers' kernels, which `nn.scan` or `nn.vmap` stacks.
    """

    path: Path
    kind: str
    weights: WeightBinarizer | None
    activations: ActivationBinarizer | None
    kernel_shape: Shape | None
    input_shape: Shape
    output_shape: Shape
    param_shapes: Mapping[str, Shape]
    macs: int
    calls: int
    stacked: bool = False

    @property
    def name(self) -> str:
        """The path as text, `"stage1_block1/conv1"`."""
        return "/".join(self.path)

    @property
    def num_params(self) -> int:
        """Number of parameters, scalars counted one by one."""
        return sum(math.prod(shape) for shape in self.param_shapes.values())


def trace_layers(
    model: nn.Module, input_shape: Shape, *, dtype: Any = jnp.float32, **arguments: Any
) -> tuple[LayerInfo, ...]:
    """The layers of a model which own parameters, in the order in which they are first called.

    Traces `model.init` abstractly on a batch of one: quick, and free of memory, for any size of model.

    Args:
      model: Any Flax Linen module of one array.
      input_shape: Of one example, without the batch: `(32, 32, 3)`.
      dtype: Of the inputs (integers for embeddings).
      **arguments: Passed to the model's `__call__` beside the inputs.

    Raises:
      ValueError: If a dimension of `input_shape` is not a positive integer.

    Example:
      >>> [layer.name for layer in trace_layers(model, (32, 32, 3)) if layer.weights]
      ['stage1_block1/conv1', 'stage1_block1/conv2', ...]
    """
    if any(not isinstance(size, int) or size < 1 for size in input_shape):
        raise ValueError(f"input_shape must hold positive sizes of one example, without batch, found {input_shape}")
    calls: dict[Path, list[Call]] = {}
    # Modules being called: the methods by which a module helps itself are no calls of the layer.
    active: list[Path] = []
    # As the module itself sees them, within nn.scan or nn.vmap.
    kernels: dict[Path, Shape] = {}

    def called(next_method: Any, args: tuple, kwargs: dict, module: nn.Module) -> Any:
        outputs = next_method(*args, **kwargs)
        if module.has_variable("params", "kernel"):
            kernels.setdefault(module.path, _shape(module.get_variable("params", "kernel")))
        return outputs

    def record(next_method: Any, args: tuple, kwargs: dict, context: nn.module.InterceptorContext) -> Any:
        path = context.module.path
        if context.method_name == "setup":
            return next_method(*args, **kwargs)
        if path in active:
            return called(next_method, args, kwargs, context.module)
        seen = calls.setdefault(path, [])
        active.append(path)
        try:
            outputs = called(next_method, args, kwargs, context.module)
        finally:
            active.pop()
        seen.append(Call(context.module, _shape((args, kwargs)), _shape(outputs)))
        return outputs

    def init() -> Any:
        params, dropout = jax.random.split(jax.random.key(0))
        rngs = {"params": params, "dropout": dropout}
        return model.init(rngs, jnp.zeros((1, *input_shape), dtype), **arguments)

    with nn.intercept_methods(record):
        variables = jax.eval_shape(init)
    owned = _owners(variables.get("params", {}), calls)
    return tuple(_layer(path, made, owned[path], kernels) for path, made in calls.items() if path in owned)


def _owners(params: Any, modules: Iterable[Path]) -> dict[Path, dict[str, Shape]]:
    """Shapes of the parameters of each module: a parameter belongs to the deepest module above it."""
    known, owned = set(modules), dict[Path, dict[str, Shape]]()
    for keys, leaf in tree_flatten_with_path(params)[0]:
        names = tuple(keystr((key,), simple=True) for key in keys)
        depth = max(i for i in range(len(names)) if names[:i] in known or i == 0)
        owned.setdefault(names[:depth], {})["/".join(names[depth:])] = tuple(leaf.shape)
    return owned


def _layer(path: Path, calls: list[Call], params: dict[str, Shape], kernels: Mapping[Path, Shape]) -> LayerInfo:
    module, input_shape, output_shape = calls[0]
    kernel = params.get("kernel")
    kind = kind_of(calls[0], kernel)
    weights, activations = getattr(module, "weights", None), getattr(module, "activations", None)
    return LayerInfo(
        path=path,
        kind=kind,
        weights=weights if isinstance(weights, WeightBinarizer) else None,
        activations=activations if isinstance(activations, ActivationBinarizer) else None,
        kernel_shape=kernel,
        input_shape=_example(input_shape),
        output_shape=_example(output_shape),
        param_shapes=params,
        macs=sum(macs_of(kind, call, kernel) for call in calls) if kernel else 0,
        calls=len(calls),
        stacked=kernels.get(path, kernel) != kernel,
    )


def _shape(tree: Any) -> Shape:
    """Shape of the first array in a tree; () if there is none."""
    return next((tuple(leaf.shape) for leaf in tree_leaves(tree) if hasattr(leaf, "shape")), ())


def _example(shape: Shape) -> Shape:
    """Without the batch of one that was traced."""
    return shape[1:] if shape[:1] == (1,) else shape


def binary_layers(layers: Iterable[LayerInfo]) -> dict[Path, WeightBinarizer]:
    """The weight binarizers of those layers which have one, by path, in order.

    Raises:
      ValueError: If kernels of several such layers are stacked: their filters would be taken for those of one.
    """
    found: dict[Path, WeightBinarizer] = {}
    for layer in layers:
        if layer.weights is not None:
            if layer.stacked:
                raise ValueError(
                    f"{layer.name}: nn.scan or nn.vmap stacks the kernels of several binary layers into one of "
                    f"{layer.kernel_shape}, whose filters would be taken for one layer's: make the layers one by one"
                )
            found[layer.path] = layer.weights
    return found
