"""Convolutions and their gradients in forms which are quick on a CPU.

XLA's own gradient convolutions are many times slower there than its matrix products, so both gradients are
written as products of shifted inputs; from 64 channels on Winograd's transform beats the stock forward.
A case that no form covers falls back to the stock operation.
"""

import jax.numpy as jnp
from jax import Array, lax

from bnn_jax.ops import stock_convolution as stock
from bnn_jax.ops import winograd
from bnn_jax.ops.winograd import contract

# Input and output channels from which the transform wins over the stock forward, and over `_by_shifts`.
_WINOGRAD_FROM, _WINOGRAD_GRADIENT_FROM = 64, 128


def covers(kernel_shape: tuple[int, ...], strides: tuple[int, int], padding: stock.Padding) -> bool:
    """Whether the forms below hold: square odd kernel, equal strides, padding that keeps the size."""
    size, other = kernel_shape[:2]
    same = (size // 2, size // 2)
    return size == other and size % 2 == 1 and strides[0] == strides[1] and tuple(map(tuple, padding)) == (same, same)


def convolve(x: Array, kernel: Array, strides: tuple[int, int], padding: stock.Padding) -> Array:
    """The convolution, (n, h, w, i) and (k, k, i, o) to (n, h', w', o)."""
    size, _, channels, features = kernel.shape
    stride = strides[0]
    if size == 1:
        wide = jnp.promote_types(x.dtype, jnp.float32)
        return jnp.matmul(x[:, ::stride, ::stride], kernel[0, 0], preferred_element_type=wide)
    if stride == 1 and min(channels, features) >= _WINOGRAD_FROM and winograd.applies(x, kernel):
        return winograd.convolve(x, kernel)
    return stock.convolve(x, kernel, strides, padding)


def input_gradient(x: Array, kernel: Array, g: Array, strides: tuple[int, int], padding: stock.Padding) -> Array:
    """Gradient with respect to `x`, of which only the shape is used."""
    stride = strides[0]
    if kernel.shape[0] == 1:
        return _spread(g @ kernel[0, 0].T, x.shape, stride)
    if stride == 1:
        return convolve(g, kernel[::-1, ::-1].swapaxes(2, 3), strides, padding)
    return stock.input_gradient(x, kernel, g, strides, padding)


def kernel_gradient(x: Array, kernel: Array, g: Array, strides: tuple[int, int], padding: stock.Padding) -> Array:
    """Gradient with respect to `kernel`, of which only the shape is used."""
    del padding
    size, _, channels, features = kernel.shape
    stride = strides[0]
    if size == 1:
        return contract(x[:, ::stride, ::stride], g)[None, None]
    if size == 3 and stride == 1:
        if min(channels, features) >= _WINOGRAD_GRADIENT_FROM and winograd.applies(x, kernel):
            return winograd.kernel_gradient(x, g)
        return _by_shifts(x, g)
    return _by_taps(x, g, size, stride)


def _spread(dx: Array, shape: tuple[int, ...], stride: int) -> Array:
    """Puts the gradient of a subsampled input back to where it was sampled, zeros between."""
    if stride == 1:
        return dx
    grow = [(0, shape[axis] - (dx.shape[axis] - 1) * stride - 1, stride - 1) for axis in (1, 2)]
    return lax.pad(dx, jnp.zeros((), dx.dtype), [(0, 0, 0), *grow, (0, 0, 0)])


def _by_shifts(x: Array, g: Array) -> Array:
    """Kernel gradient, 3x3 and stride 1: one product of `x` shifted along the width with `g` along the height."""
    (_, h, w, channels), features = x.shape, g.shape[-1]
    x = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    g = jnp.pad(g, ((0, 0), (1, 1), (0, 0), (0, 0)))
    along_width = jnp.concatenate([x[:, :, j : j + w] for j in range(3)], -1)
    along_height = jnp.concatenate([g[:, 2 - i : 2 - i + h] for i in range(3)], -1)
    return contract(along_width, along_height).reshape(3, channels, 3, features).transpose(2, 0, 1, 3)


def _by_taps(x: Array, g: Array, size: int, stride: int) -> Array:
    """Kernel gradient, any size and stride: all taps of `x` side by side, one product with `g`."""
    (n, _, _, channels), (_, h, w, features) = x.shape, g.shape
    x = jnp.pad(x, ((0, 0), (size // 2, size // 2), (size // 2, size // 2), (0, 0)))

    def tap(i: int, j: int) -> Array:
        stop = (n, i + (h - 1) * stride + 1, j + (w - 1) * stride + 1, channels)
        return lax.slice(x, (0, i, j, 0), stop, (1, stride, stride, 1))

    taps = jnp.concatenate([tap(i, j) for i in range(size) for j in range(size)], -1)
    return contract(taps, g).reshape(size, size, channels, features)
