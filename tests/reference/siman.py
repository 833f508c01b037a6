"""SiMaN's layer, forward and backward, in float64 NumPy; filters along the last axis, images NHWC."""

import itertools

import numpy as np

from tests.reference import layers, ste

EPS = 1e-5


def standardize(x, axes, eps=EPS):
    """(x - mean) / sqrt(unbiased variance + eps)."""
    x = np.asarray(x, np.float64)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, ddof=1, keepdims=True) + eps)


def standardize_vjp(x, g, axes, eps=EPS):
    """g/s - c <g, c> / (s^3 (n - 1)), less its mean; c = x - mean x, s = sqrt(var + eps)."""
    x, g = np.asarray(x, np.float64), np.asarray(g, np.float64)
    n = np.prod([x.shape[a] for a in axes])
    c = x - x.mean(axes, keepdims=True)
    s = np.sqrt((c * c).sum(axes, keepdims=True) / (n - 1) + eps)
    gc = g / s - c * (g * c).sum(axes, keepdims=True) / (s**3 * (n - 1))
    return gc - gc.mean(axes, keepdims=True)


def half_code(magnitude):
    """Each filter's floor(n / 2) largest in a stable descending order."""
    flat = np.reshape(magnitude, (-1, np.shape(magnitude)[-1]))
    code = np.zeros(flat.shape, bool)
    for f in range(flat.shape[1]):
        descending = np.argsort(-flat[:, f], kind="stable")
        code[descending[: flat.shape[0] // 2], f] = True
    return code.reshape(np.shape(magnitude))


def median_code(magnitude):
    """What exceeds each filter's lower median, sorted index (n - 1) // 2."""
    flat = np.reshape(magnitude, (-1, np.shape(magnitude)[-1]))
    return (flat > np.sort(flat, axis=0)[(flat.shape[0] - 1) // 2]).reshape(np.shape(magnitude))


def angle_code(magnitude):
    """The non-zero code with the largest cosine to the magnitudes, by trying all 2^n - 1 of them."""
    flat = np.reshape(np.asarray(magnitude, np.float64), (-1, np.shape(magnitude)[-1]))
    codes = np.array(list(itertools.product([0, 1], repeat=flat.shape[0])))[1:]
    best = np.argmax(codes @ flat / np.sqrt(codes.sum(1))[:, None], axis=0)
    return codes[best].T.astype(bool).reshape(np.shape(magnitude))


def cosine(code, magnitude):
    """cos(b, |w|) of each filter."""
    code = np.reshape(np.asarray(code, np.float64), (-1, np.shape(code)[-1]))
    flat = np.reshape(np.asarray(magnitude, np.float64), code.shape)
    return (code * flat).sum(0) / np.linalg.norm(code, axis=0) / np.linalg.norm(flat, axis=0)


def entropy(p):
    """Bits of a Bernoulli variable."""
    p = np.asarray(p, np.float64)
    return -p * np.log2(p) - (1 - p) * np.log2(1 - p)


def percentile_bounds(w, q):
    """The two percentiles, over the whole layer, of |w - mean per filter|."""
    size = np.abs(_center(w))
    return np.percentile(size, q), np.percentile(size, 100 - q)


def project(w, q):
    """sign(c) clip(|c|, low, high) with c = w - mean per filter."""
    c = _center(w)
    return np.sign(c) * np.clip(np.abs(c), *percentile_bounds(w, q))


def _center(w):
    w = np.asarray(w, np.float64)
    return w - w.mean(tuple(range(w.ndim - 1)), keepdims=True)


def layer(x, w, scale, code, strides=(1, 1), padding=(1, 1), padding_value=0.0):
    """conv(sign(standardized x), 2 code - 1) * scale, for a code chosen already."""
    xb = ste.sign(standardize(x, tuple(range(1, np.ndim(x)))))
    return layers.conv(xb, _signed(code), strides, padding, padding_value) * scale


def layer_vjp(x, w, scale, code, g, strides=(1, 1), padding=(1, 1), padding_value=0.0):
    """Gradients with respect to `x`, `w` and `scale`.

    Activations: polynomial slope, then the Jacobian of the standardization. Weights: straight through to
    |w~|, so times sign(w~), then the Jacobian of the standardization.
    """
    x_axes, w_axes = tuple(range(1, np.ndim(x))), tuple(range(np.ndim(w) - 1))
    normal, w_normal = standardize(x, x_axes), standardize(w, w_axes)
    xb, wb = ste.sign(normal), _signed(code)
    g = np.asarray(g, np.float64)
    g_scale = (g * layers.conv(xb, wb, strides, padding, padding_value)).sum((0, 1, 2))
    g_xb, g_wb = layers.conv_vjp(xb, wb, g * scale, strides, padding, padding_value)
    gx = standardize_vjp(x, g_xb * ste.polynomial(normal), x_axes)
    return gx, standardize_vjp(w, g_wb * np.sign(w_normal), w_axes), g_scale


def weight_from_gradient(gw, g_wb, signs):
    """The centered weight at which `layer_vjp` gives the gradient `gw`: its inverse, filter by filter.

    With h = g_wb sign(w), less its mean, u the unit vector along c, and e = eps / s^2, the gradient is
    gw = (h - u <h, u> (1 - e)) / s. So d = h - s gw is parallel to c, and s <gw, d> = |d|^2 e / (1 - e).

    Args:
      gw: Gradient with respect to the weight, (..., features).
      g_wb: Gradient with respect to the binary weight, same shape.
      signs: sign(w - mean w), same shape.
    """
    gw, g_wb, signs = (np.reshape(np.asarray(v, np.float64), (-1, np.shape(v)[-1])) for v in (gw, g_wb, signs))
    h = g_wb * signs - (g_wb * signs).mean(0)
    s = (h * gw).sum(0) / (gw * gw).sum(0)
    for _ in range(100):
        d, e = h - s * gw, EPS / s**2
        s = ((h * gw).sum(0) - (d * d).sum(0) * e / (1 - e) / s) / (gw * gw).sum(0)
    d *= np.sign((d * signs).sum(0)) / np.linalg.norm(d, axis=0)
    return d * np.sqrt((gw.shape[0] - 1) * (s**2 - EPS))


def _signed(code):
    return 2.0 * np.asarray(code, np.float64) - 1.0
