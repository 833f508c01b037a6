"""What a Flax model is made of: its layers, and where their variables lie."""

from bnn_jax.inspect.calls import Shape
from bnn_jax.inspect.layers import LayerInfo, Path, binary_layers, trace_layers
from bnn_jax.inspect.variables import Operands, get, learned_names, operands, put

__all__ = [
    "LayerInfo",
    "Operands",
    "Path",
    "Shape",
    "binary_layers",
    "get",
    "learned_names",
    "operands",
    "put",
    "trace_layers",
]
