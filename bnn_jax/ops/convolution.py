"""Convolution of full-precision and of binary weights, quick forward and backward on every platform."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from bnn_jax.ops import cpu_convolution as cpu
from bnn_jax.ops import stock_convolution as stock
from bnn_jax.ops.stock_convolution import Padding

Strides = tuple[int, int]
_Kept = tuple[Array, Array]


def conv(x: Array, kernel: Array, strides: Strides, padding: Padding) -> Array:
    """Convolution with zero padding, differentiable in reverse mode.

    Args:
      x: (batch, height, width, in), floating point.
      kernel: (kh, kw, in, out), floating point.
      strides: (vertical, horizontal).
      padding: ((above, below), (left, right)).

    Returns:
      (batch, height', width', out).
    """
    wide = jnp.promote_types(x.dtype, kernel.dtype)
    return _conv(x.astype(wide), kernel.astype(wide), tuple(strides), tuple(map(tuple, padding))).astype(x.dtype)


def binary_conv(
    x: Array, code: Array, scale: Array, strides: Strides, padding: Padding, *, binary_inputs: bool = True
) -> Array:
    """conv(x, code) * scale, exact for binary operands, differentiable in reverse mode.

    The convolution is of +-1 by +-1, so its sums are small integers, right to the last bit also on matrix
    units of low precision. Its output is not kept for the gradient of the scale, which follows from that of
    the kernel: dL/dscale_o = <dL/d(code scale)_o, code_o>.

    Args:
      x: (batch, height, width, in), floating point.
      code: (kh, kw, in, out), values in {-1, +1}, floating point.
      scale: (out,).
      strides: (vertical, horizontal).
      padding: ((above, below), (left, right)), of zeros.
      binary_inputs: Whether `x` holds only -1, 0 and +1; if not, products are taken in full precision.

    Returns:
      (batch, height', width', out), of the dtype of `x`. Sums and scaling are in float32 or wider, and so is
      the whole backward pass.
    """
    return _binary_conv(x, code, scale, tuple(strides), tuple(map(tuple, padding)), binary_inputs)


def _dispatch(form: Callable[..., Array], stock_form: Callable[..., Array], *operands: Array, options: tuple) -> Array:
    kernel, (strides, padding) = operands[1], options
    stock_form = partial(stock_form, strides=strides, padding=padding)
    if not cpu.covers(kernel.shape, strides, padding):
        return stock_form(*operands)
    return lax.platform_dependent(*operands, cpu=partial(form, strides=strides, padding=padding), default=stock_form)


def _forward(x: Array, kernel: Array, options: tuple, *, exact: bool = False) -> Array:
    return _dispatch(cpu.convolve, partial(stock.convolve, exact=exact), x, kernel, options=options)


def _gradients(x: Array, kernel: Array, g: Array, options: tuple) -> tuple[Array, Array]:
    return (
        _dispatch(cpu.input_gradient, stock.input_gradient, x, kernel, g, options=options),
        _dispatch(cpu.kernel_gradient, stock.kernel_gradient, x, kernel, g, options=options),
    )


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x: Array, kernel: Array, strides: Strides, padding: Padding) -> Array:
    return _forward(x, kernel, (strides, padding))


def _conv_fwd(x: Array, kernel: Array, strides: Strides, padding: Padding) -> tuple[Array, _Kept]:
    return _forward(x, kernel, (strides, padding)), (x, kernel)


def _conv_bwd(strides: Strides, padding: Padding, kept: _Kept, g: Array) -> tuple[Array, Array]:
    x, kernel = kept
    wide = jnp.promote_types(x.dtype, jnp.float32)
    dx, dk = _gradients(x.astype(wide), kernel.astype(wide), g.astype(wide), (strides, padding))
    return dx.astype(x.dtype), dk.astype(kernel.dtype)


_conv.defvjp(_conv_fwd, _conv_bwd)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _binary_conv(x: Array, code: Array, scale: Array, strides: Strides, padding: Padding, exact: bool) -> Array:
    sums = _forward(x, code.astype(x.dtype), (strides, padding), exact=exact)
    return (sums * _per_channel(scale)).astype(x.dtype)


def _binary_fwd(
    x: Array, code: Array, scale: Array, strides: Strides, padding: Padding, exact: bool
) -> tuple[Array, tuple[Array, Array, Array]]:
    return _binary_conv(x, code, scale, strides, padding, exact), (x, code, scale)


def _binary_bwd(
    strides: Strides, padding: Padding, exact: bool, kept: tuple[Array, Array, Array], g: Array
) -> tuple[Array, Array, Array]:
    del exact  # gradients are not
    x, code, scale = kept
    wide = jnp.promote_types(jnp.result_type(x, code, scale), jnp.float32)
    kernel = code.astype(wide) * _per_channel(scale.astype(wide))
    dx, dw = _gradients(x.astype(wide), kernel, g.astype(wide), (strides, padding))
    dscale = jnp.sum(dw * code.astype(wide), axis=(0, 1, 2))
    dcode = dw * _per_channel(scale.astype(wide))
    return dx.astype(x.dtype), dcode.astype(code.dtype), dscale.astype(scale.dtype)


_binary_conv.defvjp(_binary_fwd, _binary_bwd)


def _per_channel(v: Array) -> Array:
    return v[None, None, None]
