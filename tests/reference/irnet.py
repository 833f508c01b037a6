"""IR-Net's weights, forward and backward, in float64 NumPy; filters along the last axis."""

import numpy as np

from tests.reference import siman


def schedule(progress, t_min, t_max):
    """Sharpness and gain of the error decay estimator."""
    t = t_min * (t_max / t_min) ** progress
    return t, max(1 / t, 1)


def weights(w, g, t, k):
    """2^round(log2 mean|s|) sign(s) of standardized filters s, and the gradient for the cotangent g."""
    axes = tuple(range(np.ndim(w) - 1))
    s = siman.standardize(w, axes, eps=0.0)
    scale = 2.0 ** np.round(np.log2(np.abs(s).mean(axes, keepdims=True)))
    slope = k * t * (1 - np.tanh(t * s) ** 2)
    gradient = siman.standardize_vjp(w, np.asarray(g, np.float64) * scale * slope, axes, eps=0.0)
    return scale * np.where(s >= 0, 1.0, -1.0), gradient
