"""Kurtosis and weight mimicking in float64, from their definitions."""

import numpy as np


def kurtosis(w):
    """mean(((w - mean) / std)^4), std unbiased, of all values."""
    w = np.asarray(w, np.float64).ravel()
    return np.mean(((w - w.mean()) / w.std(ddof=1)) ** 4)


def kurtosis_gradient(w):
    """dK/dw by central differences of the definition, shape of `w`."""
    w = np.asarray(w, np.float64)
    step = 1e-5 * np.abs(w).max()
    slope = np.zeros(w.size)
    for i in range(w.size):
        moved = [w.ravel().copy(), w.ravel().copy()]
        moved[0][i] += step
        moved[1][i] -= step
        slope[i] = (kurtosis(moved[0]) - kurtosis(moved[1])) / (2 * step)
    return slope.reshape(w.shape)


def softmax(z, axes):
    """exp(z) / sum exp(z) over axes."""
    e = np.exp(z - z.max(axes, keepdims=True))
    return e / e.sum(axes, keepdims=True)


def mimicking(student, teacher, temperature, axes, *, per_distribution=False):
    """T^2 times the mean of p_T (log p_T - log p_S), of one weight."""
    p_s, p_t = (softmax(np.asarray(w, np.float64) / temperature, axes) for w in (student, teacher))
    parts = p_t * (np.log(p_t) - np.log(p_s))
    return temperature**2 * (parts.sum(axes).mean() if per_distribution else parts.mean())
