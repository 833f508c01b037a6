"""What one call of a module says of its layer: the kind, and how much it computes."""

import math
from typing import NamedTuple

import flax.linen as nn

Shape = tuple[int, ...]


class Call(NamedTuple):
    """One outermost call of a module; shapes with the batch of one that is traced."""

    module: nn.Module
    input_shape: Shape
    output_shape: Shape


def kind_of(call: Call, kernel: Shape | None) -> str:
    """`LayerInfo.kind` of the layer called, whose kernel has this shape, if it has one."""
    module, inputs, outputs = call
    name = type(module).__name__
    if isinstance(module, nn.DenseGeneral):
        return "dense"
    # Others' layers are known by what they do: kernels (..., in / groups, out) on inputs (batch, ..., in).
    if kernel and inputs and outputs and kernel[-1] == outputs[-1] and inputs[-1] % kernel[-2] == 0:
        if len(kernel) == 2:
            return "dense"
        if hasattr(module, "kernel_size") or len(kernel) == len(inputs):
            return "conv"
    if hasattr(module, "kernel_size"):
        return "conv"
    if name.endswith("Norm"):
        return "norm"
    return "prelu" if name == "PReLU" else name


def macs_of(kind: str, call: Call, kernel: Shape) -> int:
    """Multiply-accumulates of one call for one example; 0 where they are not known."""
    module, inputs, outputs = call
    if kind == "conv":
        if isinstance(module, nn.ConvLocal):
            return math.prod(kernel)  # holds a filter for each position
        # Each weight meets every output position once; in a transposed convolution every input position.
        positions = inputs if isinstance(module, nn.ConvTranspose) else outputs
        return math.prod(positions[:-1]) * math.prod(kernel)
    if kind == "dense":
        axes = getattr(module, "axis", -1)  # DenseGeneral may contract several
        contracted = math.prod(inputs[axis] for axis in ((axes,) if isinstance(axes, int) else axes))
        return math.prod(outputs) * contracted
    return 0
