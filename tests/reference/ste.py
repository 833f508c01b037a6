"""Surrogate gradients of sign as functions and slopes, in float64 NumPy."""

import numpy as np


def sign(x):
    """+1 where x >= 0, else -1."""
    return np.where(np.asarray(x, np.float64) >= 0, 1.0, -1.0)


def identity(x):
    return np.ones_like(np.asarray(x, np.float64))


def clip(x):
    """Slope of hardtanh, 1 on the closed interval [-1, 1]."""
    return np.where(np.abs(np.asarray(x, np.float64)) <= 1, 1.0, 0.0)


def polynomial(x):
    """Bi-Real Net: 2 + 2x on [-1, 0), 2 - 2x on [0, 1), else 0."""
    x = np.asarray(x, np.float64)
    return np.where((x >= -1) & (x < 0), 2 + 2 * x, np.where((x >= 0) & (x < 1), 2 - 2 * x, 0.0))


def ede(x, t, k):
    """Slope of k tanh(t x)."""
    with np.errstate(over="ignore"):
        return k * t * (1 - np.tanh(t * np.asarray(x, np.float64)) ** 2)


def swish(x, beta=5.0):
    """BNN+, equation of the derivative: beta (2 - z tanh(z / 2)) / (1 + cosh z), z = beta x."""
    z = beta * np.asarray(x, np.float64)
    return beta * (2 - z * np.tanh(z / 2)) / (1 + np.cosh(z))


def hardtanh(x):
    return np.clip(np.asarray(x, np.float64), -1, 1)


def bireal(x):
    """The piecewise polynomial whose slope is `polynomial`."""
    x = np.asarray(x, np.float64)
    inside = np.where(x < 0, 2 * x + x * x, 2 * x - x * x)
    return np.where(np.abs(x) < 1, inside, np.sign(x))


def swish_sign(x, beta=5.0):
    """2 s (1 + z (1 - s)) - 1 with s = sigmoid(z), z = beta x: the function whose slope is `swish`."""
    z = beta * np.asarray(x, np.float64)
    s = 1 / (1 + np.exp(-z))
    return 2 * s * (1 + z * (1 - s)) - 1
