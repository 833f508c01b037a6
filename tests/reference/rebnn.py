"""ReBNN in float64 NumPy, filters along the last axis: the paper's equations, and what the release computes."""

from typing import NamedTuple

import numpy as np


class Result(NamedTuple):
    """The scaled binary weight, the reconstruction term, and the gradients of loss and term together."""

    w_b: np.ndarray
    reconstruction: float
    grad_w: np.ndarray
    grad_scale: np.ndarray


def sign(w):
    return np.where(w >= 0, 1.0, -1.0)


def over_filter(x):
    return x.sum(axis=tuple(range(x.ndim - 1)))


def paper(w, alpha, gamma, g):
    """alpha > 0 and gamma are (features,), `g` the gradient with respect to alpha sign(w)."""
    b = sign(w)
    rest = w - alpha * b
    return Result(
        alpha * b,
        0.5 * (gamma * over_filter(rest**2)).sum(),
        alpha * g * (np.abs(w) <= 1) + gamma * rest,
        over_filter(g * b) - gamma * over_filter(rest * b),
    )


def gamma(w, w_next, g, clip=None):
    """(3.150): gamma after a step from `w` to `w_next` by a gradient `g` with respect to alpha sign(w)."""
    n = w[..., 0].size
    flipped = over_filter((sign(w) != sign(w_next)).astype(float)) / n
    value = flipped * np.abs(g).reshape(n, -1).max(0)
    return value if clip is None else np.clip(value, *clip)


def released(w, scale, g):
    """Of |s| = scale > 0; the gradients are those with respect to w and |s|."""
    b = sign(w)
    rest = w - 0.02 * scale * b
    return Result(
        0.02 * scale * b,
        0.5 * 2e-4 * (rest**2).sum(),
        scale * g + 2e-4 * rest,
        over_filter(g * w) - 2e-4 * 0.02 * over_filter(rest * b),
    )
