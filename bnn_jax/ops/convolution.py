"""Convolutions."""

from jax import Array, lax

DIMS = ("NHWC", "HWIO", "NHWC")


def conv(x: Array, kernel: Array, strides, padding) -> Array:
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=DIMS)


def binary_conv(x: Array, code: Array, scale: Array, strides, padding) -> Array:
    return conv(x, code, strides, padding) * scale[None, None, None]
