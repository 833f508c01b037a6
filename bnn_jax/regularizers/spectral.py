"""Spectral norms of retention matrices: how much a part of a network can stretch what passes through it.

Of two consecutive feature maps a and b of one sample, at the same size h x w, the retention matrix is

    R = (1 / (h w)) sum over positions p of a_p b_p^T                          (C_a, C_b)

and its largest singular value stands for the Lipschitz constant of what lies between the two (LCR-BNN,
Shang et al., ECCV 2022). Power iteration on K = R R^T approximates it; products with R need the feature
maps alone, so that neither matrix is formed where a product with a vector will do.

All is computed in float32 (or wider), whatever the dtype of the features: the squares overflow float16.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from bnn_jax.ops.precision import wide

_HIGHEST = lax.Precision.HIGHEST


def retention_matrix(a: Array, b: Array) -> Array:
    """R = sum_p a_p b_p^T / (h w) for each sample.

    Args:
      a: (batch, height, width, channels), floating point; average-pooled to the size of `b` where it is larger.
      b: (batch, height', width', channels'), floating point, no larger than `a`.

    Returns:
      (batch, channels, channels'), float32 or wider.

    Raises:
      ValueError: If shapes do not fit.
    """
    a, b = _matched(a, b)
    return _matrix(a, b)


def retention_norm(a: Array, b: Array, n_iter: int = 1) -> Array:
    """The spectral norm of `retention_matrix(a, b)`, by power iteration, for each sample.

    Equal to `power_iteration_norm(retention_matrix(a, b), n_iter)`, but forms the matrix only where that is
    less work than the products with vectors it saves.

    Args:
      a: (batch, height, width, channels), floating point.
      b: (batch, height', width', channels'), floating point, no larger than `a`.
      n_iter: Power iterations, 1 or more.

    Returns:
      (batch,), float32 or wider; differentiable, also at zero.
    """
    _check_iterations(n_iter)
    a, b = _matched(a, b)
    channels, others = a.shape[-1], b.shape[-1]
    if channels * others < 2 * n_iter * (channels + others):
        return power_iteration_norm(_matrix(a, b), n_iter)
    size = a.shape[1]

    def through(v: Array) -> Array:  # R^T v, then R of that
        u = jnp.einsum("bpc,bc->bp", a, v, precision=_HIGHEST)
        u = jnp.einsum("bp,bpd->bd", u, b, precision=_HIGHEST) / size
        u = jnp.einsum("bpd,bd->bp", b, u, precision=_HIGHEST)
        return jnp.einsum("bp,bpc->bc", u, a, precision=_HIGHEST) / size

    return _iterate(through, jnp.ones((a.shape[0], channels), a.dtype), n_iter)


def power_iteration_norm(matrix: Array, n_iter: int = 1) -> Array:
    """The largest singular value, approximated: v <- K v / |K v| from v = 1, and sqrt |K v| at last, K = R R^T.

    With one iteration (the released choice) the value is sqrt |K 1|, above the true one by up to the fourth
    root of the number of rows; it converges to the true one as `n_iter` grows, unless 1 is orthogonal to
    the leading singular vector.

    Args:
      matrix: R, (..., rows, columns), floating point.
      n_iter: Power iterations, 1 or more.

    Returns:
      (...,), float32 or wider. Differentiable through all iterations; where the matrix is zero, the value
      and its gradient are zero.

    Raises:
      ValueError: If `n_iter` is less than 1.
    """
    _check_iterations(n_iter)
    matrix = wide(matrix)

    def through(v: Array) -> Array:
        u = jnp.einsum("...cd,...c->...d", matrix, v, precision=_HIGHEST)
        return jnp.einsum("...cd,...d->...c", matrix, u, precision=_HIGHEST)

    return _iterate(through, jnp.ones(matrix.shape[:-1], matrix.dtype), n_iter)


def exact_norm(matrix: Array) -> Array:
    """The largest singular value, by singular value decomposition: what `power_iteration_norm` approximates.

    Args:
      matrix: (..., rows, columns), floating point.

    Returns:
      (...,), float32 or wider.
    """
    return jnp.linalg.svd(wide(matrix), compute_uv=False)[..., 0]


def adaptive_avg_pool(x: Array, size: tuple[int, int]) -> Array:
    """Average pool to a given size: cell i of n covers rows floor(i H / n) to ceil((i + 1) H / n) - 1.

    Windows overlap where the sizes do not divide.

    Args:
      x: (batch, height, width, channels), floating point.
      size: (height', width') of the result, at most those of `x`.

    Returns:
      (batch, height', width', channels).
    """
    n, height, width, channels = x.shape
    rows, columns = size
    if height % rows == 0 and width % columns == 0:
        return jnp.mean(x.reshape(n, rows, height // rows, columns, width // columns, channels), (2, 4))
    down, across = (jnp.asarray(_windows(old, new), x.dtype) for old, new in ((height, rows), (width, columns)))
    return jnp.einsum("ih,jw,bhwc->bijc", down, across, x, precision=_HIGHEST)


def _windows(old: int, new: int) -> np.ndarray:
    """Weights (new, old) of the average in each window."""
    start = np.arange(new) * old // new
    stop = -(-(np.arange(new) + 1) * old // new)
    place = np.arange(old)
    inside = (place >= start[:, None]) & (place < stop[:, None])
    return inside / (stop - start)[:, None]


def _matched(a: Array, b: Array) -> tuple[Array, Array]:
    """Both maps at the size of `b`, positions in one axis: (batch, positions, channels)."""
    if a.ndim != 4 or b.ndim != 4 or a.shape[0] != b.shape[0]:
        raise ValueError(
            "a retention matrix needs two feature maps (batch, height, width, channels) of the same batch, found "
            f"shapes {a.shape} and {b.shape}"
        )
    if a.shape[1] < b.shape[1] or a.shape[2] < b.shape[2]:
        raise ValueError(
            f"the later feature map must not be larger than the earlier one, found {a.shape[1:3]} and then "
            f"{b.shape[1:3]}: list features from the network's input to its output"
        )
    a, b = wide(a), wide(b)
    if a.shape[1:3] != b.shape[1:3]:
        a = adaptive_avg_pool(a, (b.shape[1], b.shape[2]))
    return a.reshape(a.shape[0], -1, a.shape[-1]), b.reshape(b.shape[0], -1, b.shape[-1])


def _matrix(a: Array, b: Array) -> Array:
    return jnp.einsum("bpc,bpd->bcd", a, b, precision=_HIGHEST) / a.shape[1]


def _iterate(through: Callable[[Array], Array], v: Array, n_iter: int) -> Array:
    """Square root of |K v| after power iteration; zero, with gradient zero, where that is zero."""
    for _ in range(n_iter - 1):
        v = _direction(through(v))[0]
    m = through(v)
    zero = jnp.all(m == 0, -1)
    # The square root has no derivative at zero.
    _, length = _direction(jnp.where(zero[..., None], 1.0, m))
    return jnp.where(zero, 0.0, jnp.sqrt(length))


def _direction(m: Array) -> tuple[Array, Array]:
    """Vectors of length 1 along the last axis, and the lengths they had; finite also where those are zero.

    Works on vectors scaled to a largest entry of 1, whose squares neither overflow nor vanish.
    """
    largest = lax.stop_gradient(jnp.max(jnp.abs(m), -1, keepdims=True))
    scale = jnp.where(largest > 0, largest, 1.0)
    scaled = jnp.where(largest > 0, m / scale, 1.0)
    length = jnp.sqrt(jnp.sum(jnp.square(scaled), -1, keepdims=True))
    return scaled / length, (scale * length)[..., 0]


def _check_iterations(n_iter: int) -> None:
    if n_iter < 1:
        raise ValueError(f"power iteration needs n_iter of 1 or more, found {n_iter}")
