"""XLA's convolution and its two gradients, NHWC and HWIO."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

Padding = Sequence[tuple[int, int]]
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolve(x: Array, kernel: Array, strides: tuple[int, int], padding: Padding, *, exact: bool = False) -> Array:
    """The convolution, (n, h, w, i) and (kh, kw, i, o) to (n, h', w', o), summed and returned in float32 or wider.

    Args:
      x: Inputs.
      kernel: Kernel, of the same dtype.
      strides: (vertical, horizontal).
      padding: ((above, below), (left, right)).
      exact: Whether both operands are exact in bfloat16, so that matrix units of low precision will do.
    """
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        dimension_numbers=_LAYOUT,
        precision=lax.Precision.DEFAULT if exact else lax.Precision.HIGHEST,
        preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
    )


def input_gradient(x: Array, kernel: Array, g: Array, strides: tuple[int, int], padding: Padding) -> Array:
    """Gradient with respect to `x`, of which only the shape is used."""
    (dx,) = jax.linear_transpose(lambda v: convolve(v, kernel, strides, padding), x)(g)
    return dx


def kernel_gradient(x: Array, kernel: Array, g: Array, strides: tuple[int, int], padding: Padding) -> Array:
    """Gradient with respect to `kernel`, of which only the shape is used."""
    (dk,) = jax.linear_transpose(lambda v: convolve(x, v, strides, padding), kernel)(g)
    return dk
