"""Non-linearities between layers, as Flax modules: those that learn something, and all by name."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array


class PReLU(nn.Module):
    """max(x, 0) + slope * min(x, 0) with a learned slope per channel (He et al. 2015)."""

    initial: float = 0.25

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Applies to `x`, (..., channels)."""
        slope = self.param("slope", nn.initializers.constant(self.initial), x.shape[-1:])
        return jnp.where(x >= 0, x, _spread(slope, x) * x)


class RPReLU(nn.Module):
    """PReLU(x + shift_in) + shift_out, all three learned per channel, shifts from 0 (ReActNet, Liu et al. 2020)."""

    initial: float = 0.25

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Applies to `x`, (..., channels)."""
        shifts = [self.param(name, nn.initializers.zeros, x.shape[-1:]) for name in ("shift_in", "shift_out")]
        before, after = (_spread(shift, x) for shift in shifts)
        return PReLU(self.initial, name="prelu")(x + before) + after


class Activation(nn.Module):
    """A non-linearity by name: "prelu", "rprelu", "hardtanh", "relu" or "none"."""

    kind: str

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Applies to `x`, (..., channels)."""
        learning = {"prelu": PReLU, "rprelu": RPReLU}
        if self.kind in learning:
            return learning[self.kind](name=self.kind)(x)
        plain = {"hardtanh": nn.hard_tanh, "relu": nn.relu, "none": lambda v: v}
        if self.kind not in plain:
            raise ValueError(f"unknown activation {self.kind!r}: expected one of {sorted([*plain, *learning])}")
        return plain[self.kind](x)


def _spread(v: Array, x: Array) -> Array:
    return jnp.expand_dims(v, range(x.ndim - 1)).astype(x.dtype)
