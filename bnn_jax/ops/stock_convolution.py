"""XLA's convolution and its two gradients, NHWC and HWIO."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

Padding = Sequence[tuple[int, int]]
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolve(x: Array, kernel: Array, strides: tuple[int, int], padding: Padding) -> Array:
    """The convolution, (n, h, w, i) and (kh, kw, i, o) to (n, h', w', o), summed and returned in float32 or wider."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=_LAYOUT, preferred_element_type=wide)


def input_gradient(x: Array, kernel: Array, g: Array, strides: tuple[int, int], padding: Padding) -> Array:
    """Gradient with respect to `x`, of which only the shape is used."""
    (dx,) = jax.linear_transpose(lambda v: convolve(v, kernel, strides, padding), x)(g)
    return dx


def kernel_gradient(x: Array, kernel: Array, g: Array, strides: tuple[int, int], padding: Padding) -> Array:
    """Gradient with respect to `kernel`, of which only the shape is used."""
    (dk,) = jax.linear_transpose(lambda v: convolve(x, v, strides, padding), kernel)(g)
    return dk
