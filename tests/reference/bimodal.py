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


def log_softmax(z, axes):
    """log(exp(z) / sum exp(z)) over axes."""
    z = np.asarray(z, np.float64)
    z = z - z.max(axes, keepdims=True)
    return z - np.log(np.exp(z).sum(axes, keepdims=True))


def divergence_parts(student, teacher, axes):
    """p_T (log p_T - log p_S), of softmaxes over axes."""
    log_s, log_t = (log_softmax(logits, axes) for logits in (student, teacher))
    return np.exp(log_t) * (log_t - log_s)


def divergence_gradient(student, teacher, axes):
    """p_S - p_T, the gradient of the sum of the parts."""
    return np.exp(log_softmax(student, axes)) - np.exp(log_softmax(teacher, axes))


def mimicking(student, teacher, temperature, axes, *, per_distribution=False):
    """T^2 times the mean of p_T (log p_T - log p_S), of one weight."""
    parts = divergence_parts(*(np.asarray(w, np.float64) / temperature for w in (student, teacher)), axes)
    return temperature**2 * (parts.sum(axes).mean() if per_distribution else parts.mean())
