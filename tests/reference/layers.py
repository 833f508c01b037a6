"""Convolution and batch normalization with their gradients, channels last, in float64 NumPy."""

import numpy as np


def conv(x, kernel, strides=(1, 1), padding=(1, 1), padding_value=0.0):
    """y[n, i, j] = sum over a, b of x[n, i sh + a, j sw + b] @ kernel[a, b]."""
    padded = _pad(np.asarray(x, np.float64), padding, padding_value)
    return sum(padded[at] @ np.asarray(tap, np.float64) for at, tap in _taps(padded, kernel, strides))


def conv_vjp(x, kernel, g, strides=(1, 1), padding=(1, 1), padding_value=0.0):
    """Gradients with respect to `x` and `kernel`."""
    padded = _pad(np.asarray(x, np.float64), padding, padding_value)
    g = np.asarray(g, np.float64)
    g_padded, taps = np.zeros_like(padded), []
    for at, tap in _taps(padded, kernel, strides):
        g_padded[at] += g @ np.asarray(tap, np.float64).T
        taps.append(np.einsum("nijc,nijo->co", padded[at], g))
    (ph, pw), (height, width) = padding, x.shape[1:3]
    return g_padded[:, ph : ph + height, pw : pw + width], np.reshape(taps, kernel.shape)


def _pad(x, padding, value):
    return np.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)), constant_values=value)


def _taps(padded, kernel, strides):
    kh, kw = kernel.shape[:2]
    rows = (padded.shape[1] - kh) // strides[0] + 1
    columns = (padded.shape[2] - kw) // strides[1] + 1
    for a in range(kh):
        for b in range(kw):
            down = slice(a, a + (rows - 1) * strides[0] + 1, strides[0])
            across = slice(b, b + (columns - 1) * strides[1] + 1, strides[1])
            yield (slice(None), down, across), kernel[a, b]


def batch_norm(x, scale, bias, eps=1e-5):
    """Normalizes per channel with the biased variance of the batch.

    Returns the output, the mean, and the unbiased variance that running statistics average.
    """
    x = np.asarray(x, np.float64)
    axes, count = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    mean, var = x.mean(axes), x.var(axes)
    return (x - mean) / np.sqrt(var + eps) * scale + bias, mean, var * count / (count - 1)


def batch_norm_vjp(x, scale, g, eps=1e-5):
    """Gradients with respect to `x`, `scale` and `bias`."""
    x, g = np.asarray(x, np.float64), np.asarray(g, np.float64)
    axes = tuple(range(x.ndim - 1))
    std = np.sqrt(x.var(axes) + eps)
    normal = (x - x.mean(axes)) / std
    g_scale, g_bias = (g * normal).sum(axes), g.sum(axes)
    gx = scale / std * (g - g.mean(axes) - normal * (g * normal).mean(axes))
    return gx, g_scale, g_bias
