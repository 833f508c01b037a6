"""Watches codes and latent weights while a network trains: flips, oscillation, dead latents, entropy, scale.

Methods are not known here: the code of a layer is what its binarizer's `quantize` gives, in training mode,
for the state after a step. Flips need the codes of three successive steps, so a record at step t takes a
snapshot after each of t - 2, t - 1 and t; other steps cost nothing. All numbers stay on the device.
"""

import base64
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bnn_jax.binarizers import WeightBinarizer, measures
from bnn_jax.binarizers.base import Progress
from bnn_jax.inspect import Path, get, operands

Record = dict[str, dict[str, Array]]
MEMORY = "memory_"  # before the names of what binarizers remember
# The step's program and telemetry's project alike, but for rounding.
_ROUNDING = 1e-6


class Snapshot(NamedTuple):
    """One binary layer after one step.

    Attributes:
      code: Int8, shape of the kernel, values in {-1, +1}.
      latent: The latent weight.
      projected: Its projection, from which the next step goes on.
      scale_min: Smallest scale of an output channel, scalar.
      scale_max: Largest scale of an output channel, scalar.
      remembered: What the binarizer remembers as one number per output channel: the mean of each, by name.
    """

    code: Array
    latent: Array
    projected: Array
    scale_min: Array
    scale_max: Array
    remembered: Mapping[str, Array]


def snapshot(
    layers: Mapping[Path, WeightBinarizer], params: Any, memory: Any, progress: Progress
) -> dict[str, Snapshot]:
    """What telemetry needs of a state, by layer (its path joined by "/"); pure."""
    taken = {}
    for path, binarizer in layers.items():
        parts = operands(params, memory, path, binarizer)
        # What the next step's forward pass starts from, and its optimizer moves.
        projected = binarizer.project(parts.kernel, progress=progress)
        (code, scale), _ = binarizer.quantize(projected, *parts[1:], train=True, progress=progress)
        taken["/".join(path)] = Snapshot(
            code.astype(jnp.int8),
            parts.kernel,
            projected,
            jnp.min(scale),
            jnp.max(scale),
            _means(parts.memory, scale.shape),
        )
    return taken


def _means(memory: Mapping[str, Array], shape: tuple[int, ...]) -> dict[str, Array]:
    """Means over output channels of what holds one floating-point number for each."""
    floating = {name: v for name, v in memory.items() if jnp.issubdtype(v.dtype, jnp.floating)}
    return {name: jnp.mean(v, dtype=jnp.float32) for name, v in floating.items() if v.shape == shape}


def measure(first: Mapping[str, Array], second: Mapping[str, Snapshot], third: Mapping[str, Snapshot]) -> Record:
    """Compares three successive steps; pure.

    Args:
      first: Codes after step t - 2, by layer.
      second: Snapshots after step t - 1.
      third: Snapshots after step t.
    """
    return {
        name: {
            "flip_ratio": measures.flip_ratio(second[name].code, now.code),
            "flip_back_ratio": measures.flip_back_ratio(first[name], second[name].code, now.code),
            "dead_ratio": measures.unmoved_share(second[name].projected, now.latent, _ROUNDING),
            "code_entropy": measures.bit_entropy(now.code),
            "scale_min": now.scale_min,
            "scale_max": now.scale_max,
            **{f"{MEMORY}{name}": mean for name, mean in now.remembered.items()},
        }
        for name, now in third.items()
    }


class Telemetry:
    """Measures each binary layer every so many steps.

    Call `observe` after every step; it returns a record after steps that are multiples of `every`, and None
    after others, and after one whose two predecessors it has not seen. A record holds, for each layer:

        flip_ratio       share of bits which the last step flipped
        flip_back_ratio  share of bits which the last step flipped back after the one before had flipped them
        dead_ratio       share of latent weights which the last step's optimizer left where they were
        code_entropy     bit per weight, mean over filters
        scale_min, scale_max   over output channels
        memory_NAME      mean over output channels of what the binarizer remembers of each, if anything

    Two functions are compiled, each once. While a record is being prepared (for two steps) the device
    holds two codes, at one byte per weight, and two copies of the latent weights.

    To log the same records in a run that is stopped and resumed as in one that never stopped, save `state()`
    with the checkpoint and call `restore` on resume. Without, a record whose preparation was cut is left out.

    Args:
      layers: Binarizers of the layers to watch, by path, as `bnn_jax.inspect.binary_layers` returns them.
      every: Steps between records, 3 or more; 0 for none at all.

    Raises:
      ValueError: If `every` is negative, 1 or 2.

    Example:
      >>> telemetry = Telemetry(binary_layers(trace_layers(model, (32, 32, 3))), every=100)
      >>> record = telemetry.observe(step, params, memory, progress)     # after each step, counted from 1
    """

    def __init__(self, layers: Mapping[Path, WeightBinarizer], every: int) -> None:
        if every < 0 or every in (1, 2):
            raise ValueError(
                f"every must be 3 or more (three successive steps are compared), or 0 for none, found {every}"
            )
        self.every = every
        self._layers = dict(layers)
        self._snapshot = jax.jit(partial(snapshot, self._layers))
        self._measure = jax.jit(measure)
        self._watching = bool(every and layers)
        # Steps, and what was taken after them: codes of t - 2 (host arrays after a restore), all of t - 1.
        self._first: tuple[int, Mapping[str, Array | np.ndarray]] = (0, {})
        self._second: tuple[int, Mapping[str, Snapshot]] = (0, {})

    def observe(
        self, step: int, params: Mapping[str, Any], memory: Mapping[str, Any], progress: Progress
    ) -> Record | None:
        """Looks at the state after a step.

        Args:
          step: Steps finished, counted from 1.
          params: The collection "params" after the step. May be donated afterwards.
          memory: The collection "memory" after the step.
          progress: Fraction of the run that is over.

        Returns:
          Scalars on the device, by layer (its path joined by "/") and measure; or None.
        """
        to_go = -step % self.every if self._watching else -1
        if to_go not in (0, 1, 2):
            return None
        # One dtype for Python, NumPy and JAX scalars alike: another would compile again.
        now = self._snapshot(params, memory, jnp.asarray(progress, jnp.float32))
        if to_go == 2:
            self._first = step, {name: layer.code for name, layer in now.items()}
            return None
        if to_go == 1:
            self._second = step, now
            return None
        (first_step, first), (second_step, second) = self._first, self._second
        self._first, self._second = (0, {}), (0, {})
        if (first_step, second_step) != (step - 2, step - 1):
            return None
        # Restored codes lie on the host: they go where this run's codes lie.
        placed = {name: jax.device_put(first[name], layer.code.sharding) for name, layer in now.items()}
        return self._measure(placed, second, now)

    def state(self) -> dict[str, Any]:
        """What a resumed run needs, as plain JSON; `{}` but where a record is being prepared.

        One bit per binary weight, in base64; fetches codes from the device.
        """
        step, codes = self._first
        if not codes:
            return {}
        return {"step": step, "codes": {name: _pack(np.asarray(code)) for name, code in codes.items()}}

    def restore(
        self,
        saved: Mapping[str, Any],
        step: int,
        params: Mapping[str, Any],
        memory: Mapping[str, Any],
        progress: Progress,
    ) -> None:
        """Continues as if the run had not stopped.

        Args:
          saved: What `state` returned at the checkpoint.
          step: Of the checkpoint.
          params: The collection "params" of the checkpoint.
          memory: The collection "memory" of the checkpoint.
          progress: As last given to `observe`.
        """
        if not self._watching or step < 1:
            return
        kernels = {"/".join(path): get(params, (*path, "kernel")) for path in self._layers}
        codes = saved.get("codes", {})
        if codes.keys() == kernels.keys():
            self._first = (
                int(saved["step"]),
                {name: _unpack(codes[name], w.shape) for name, w in kernels.items()},
            )
        if step % self.every:  # a record due at this very step was made before the checkpoint
            self.observe(step, params, memory, progress)


def _pack(code: np.ndarray) -> str:
    return base64.b64encode(np.packbits(code > 0).tobytes()).decode("ascii")


def _unpack(text: str, shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(shape))
    bits = np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=size)
    return np.where(bits, 1, -1).astype(np.int8).reshape(shape)
