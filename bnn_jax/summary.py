"""How large a binary network is, and how binary: parameters, storage and multiply-accumulates of each layer.

    print(summarize(resnet20(10, weights=siman(), activations=siman_activations()), (32, 32, 3)))

Conventions:
- A kernel with a weight binarizer counts one bit per weight; every other parameter 32 bits.
- *Latent* storage is what training keeps: float32 for every parameter.
- *Packed* storage is what a deployed network needs: one bit per binary weight, one float32 scale per output
  channel of a binary layer in place of whatever its binarizer learns, and float32 for the rest. Running
  statistics of normalization are in neither: they fold into its scale and bias.
- A MAC is binary (XNOR and popcount) only where inputs and weights are both binary. Binary weights on float
  inputs cost float additions, and are counted as float MACs.
- 1 KiB is 1024 bytes.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from rich.console import Console, ConsoleOptions, RenderResult

from bnn_jax.inspect import LayerInfo, Shape, learned_names, trace_layers
from bnn_jax.summary_table import as_text, render

__all__ = ["LayerSummary", "Summary", "render", "summarize", "summarize_layer"]


@dataclass(frozen=True)
class LayerSummary:
    """One layer, or several alike; see the module for what is counted how.

    Attributes:
      name: Path in the model, `"stage1_block1/conv1"`.
      kind: As `bnn_jax.inspect.LayerInfo.kind`.
      input_bits: 1 or 32, precision of the inputs that are multiplied.
      weight_bits: 1 or 32, precision of the kernel.
      method: Name of the weight binarizer; "" for full-precision weights.
      kernel_shape: HWIO for convolutions, `(in, out)` for dense layers; () without a kernel.
      output_shape: Of one example.
      binary_params: Parameters of 1 bit.
      float_params: Parameters of 32 bits.
      latent_bytes: Storage in training.
      packed_bytes: Storage when deployed.
      binary_macs: For one example.
      float_macs: For one example.
    """

    name: str
    kind: str
    input_bits: int
    weight_bits: int
    method: str
    kernel_shape: Shape
    output_shape: Shape
    binary_params: int
    float_params: int
    latent_bytes: int
    packed_bytes: int
    binary_macs: int
    float_macs: int


@dataclass(frozen=True)
class Summary:
    """All layers of a model which own parameters, and their totals.

    Attributes:
      model: Name of the model's class.
      input_shape: Of one example.
      layers: In the order in which they are first called.
    """

    model: str
    input_shape: Shape
    layers: tuple[LayerSummary, ...]

    @property
    def binary_params(self) -> int:
        """Parameters of 1 bit."""
        return sum(layer.binary_params for layer in self.layers)

    @property
    def float_params(self) -> int:
        """Parameters of 32 bits."""
        return sum(layer.float_params for layer in self.layers)

    @property
    def params(self) -> int:
        """All parameters."""
        return self.binary_params + self.float_params

    @property
    def latent_bytes(self) -> int:
        """Storage in training."""
        return sum(layer.latent_bytes for layer in self.layers)

    @property
    def packed_bytes(self) -> int:
        """Storage when deployed."""
        return sum(layer.packed_bytes for layer in self.layers)

    @property
    def binary_macs(self) -> int:
        """Multiply-accumulates of bits, for one example."""
        return sum(layer.binary_macs for layer in self.layers)

    @property
    def float_macs(self) -> int:
        """Multiply-accumulates of floats, for one example."""
        return sum(layer.float_macs for layer in self.layers)

    @property
    def compression(self) -> float:
        """Latent over packed storage; 1 for a model without parameters."""
        return self.latent_bytes / self.packed_bytes if self.packed_bytes else 1.0

    @property
    def binarized_weights(self) -> float:
        """Share of the parameters that take one bit, in [0, 1]."""
        return self.binary_params / self.params if self.params else 0.0

    @property
    def binarized_macs(self) -> float:
        """Share of the multiply-accumulates that are binary, in [0, 1]."""
        macs = self.binary_macs + self.float_macs
        return self.binary_macs / macs if macs else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts, for `json.dumps`."""
        totals: tuple[str, ...] = (
            "params",
            "binary_params",
            "float_params",
            "latent_bytes",
            "packed_bytes",
            "compression",
        )
        totals += ("binary_macs", "float_macs", "binarized_weights", "binarized_macs")
        layers = [{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(la).items()} for la in self.layers]
        return {
            "model": self.model,
            "input_shape": list(self.input_shape),
            "totals": {name: getattr(self, name) for name in totals},
            "layers": layers,
        }

    def __str__(self) -> str:
        return as_text(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield render(self, width=options.max_width)


def summarize(model: nn.Module, input_shape: Shape, *, dtype: Any = jnp.float32, **arguments: Any) -> Summary:
    """Counts a Flax model's parameters, storage and multiply-accumulates without computing anything.

    Args:
      model: Any Flax Linen module of one array.
      input_shape: Of one example, without the batch: `(32, 32, 3)`.
      dtype: Of the inputs.
      **arguments: Passed to the model's `__call__` beside the inputs.

    Raises:
      ValueError: If a dimension of `input_shape` is not a positive integer.
    """
    layers = trace_layers(model, input_shape, dtype=dtype, **arguments)
    return Summary(type(model).__name__, tuple(input_shape), tuple(map(summarize_layer, layers)))


def summarize_layer(layer: LayerInfo) -> LayerSummary:
    """Counts one layer."""
    weight_bits = 32 if layer.weights is None or layer.kernel_shape is None else 1
    input_bits = 32 if layer.activations is None else 1
    binary = math.prod(layer.kernel_shape or ()) if weight_bits == 1 else 0
    both = weight_bits == input_bits == 1
    return LayerSummary(
        name=layer.name,
        kind=layer.kind,
        input_bits=input_bits,
        weight_bits=weight_bits,
        method=layer.weights.name if layer.weights else "",
        kernel_shape=layer.kernel_shape or (),
        output_shape=layer.output_shape,
        binary_params=binary,
        float_params=layer.num_params - binary,
        latent_bytes=4 * layer.num_params,
        packed_bytes=math.ceil(binary / 8) + 4 * _packed_floats(layer),
        binary_macs=layer.macs if both else 0,
        float_macs=0 if both else layer.macs,
    )


def _packed_floats(layer: LayerInfo) -> int:
    """Floats a deployed layer stores: the scale replaces the kernel and all that its binarizer learns."""
    if layer.weights is None or layer.kernel_shape is None:
        return layer.num_params
    replaced = {
        "kernel",
        *learned_names(layer.weights, jax.ShapeDtypeStruct(layer.kernel_shape, jnp.float32)),
    }
    others = (math.prod(shape) for name, shape in layer.param_shapes.items() if name not in replaced)
    return layer.kernel_shape[-1] + sum(others)
