"""Exact order statistics of columns and of whole arrays.

On the CPU, where sorting is slow, a value is found by counting (`bnn_jax.ops.selection`); elsewhere columns are
sorted. Both give the same bits. Nothing here is differentiated: what comes out is constant.
"""

import jax.numpy as jnp
from jax import Array, lax

from bnn_jax.ops import selection


def order_statistic(x: Array, rank: int | Array) -> Array:
    """The value at place `rank`, from 0, of each sorted column.

    Args:
      x: (n, c), float32 or float64, without NaN. Negative zero counts as zero.
      rank: In [0, n); an integer, or one for each column (c,). May be traced.

    Returns:
      (c,), of the dtype of `x`.
    """
    x = lax.stop_gradient(x)
    rank = jnp.broadcast_to(jnp.asarray(rank, jnp.int32), x.shape[1:])
    return lax.platform_dependent(x, rank, cpu=selection.of_columns, default=_by_sorting)


def top_mask(x: Array, count: int | Array) -> Array:
    """True at the `count` largest values of each column; among equal values the lower index wins.

    Args:
      x: (n, c), float32 or float64, without NaN.
      count: In [1, n]; an integer, or one for each column (c,). May be traced.

    Returns:
      (n, c), bool, with exactly `count` True in each column.
    """
    n = x.shape[0]
    count = jnp.broadcast_to(jnp.asarray(count, jnp.int32), x.shape[1:])
    threshold = order_statistic(x, n - count)[None]
    reached = x >= threshold

    def with_ties() -> Array:
        tied = x == threshold
        room = count - jnp.sum(x > threshold, axis=0, dtype=jnp.int32)
        return (reached & ~tied) | (tied & (jnp.cumsum(tied, axis=0, dtype=jnp.int32) <= room[None]))

    exact = jnp.sum(reached, axis=0, dtype=jnp.int32) == count
    return lax.cond(jnp.all(exact), lambda: reached, with_ties)


def percentiles(x: Array, q: Array) -> Array:
    """Percentiles over all values, with linear interpolation between neighbours, as NumPy's default.

    Args:
      x: Any shape, float32 or float64, without NaN.
      q: (k,), in percent, in [0, 100]; may be traced.

    Returns:
      (k,), of the dtype of `x`.
    """
    x = lax.stop_gradient(x)
    # Rounded, the last place would fall short of the largest value.
    position = jnp.where(q >= 100, x.size - 1, q.astype(x.dtype) / 100 * (x.size - 1)).astype(x.dtype)
    below = jnp.clip(jnp.floor(position).astype(jnp.int32), 0, x.size - 1)
    low, high = lax.platform_dependent(x, below, cpu=selection.of_all_with_next, default=_all_by_sorting)
    # Exactly `low` where the neighbours are equal, whatever the fraction.
    return low + (high - low) * (position - below)


def _by_sorting(x: Array, rank: Array) -> Array:
    return jnp.take_along_axis(jnp.sort(x, axis=0), rank[None], axis=0)[0]


def _all_by_sorting(x: Array, ranks: Array) -> tuple[Array, Array]:
    values = jnp.sort(x.reshape(-1))
    return values[ranks], values[jnp.minimum(ranks + 1, x.size - 1)]
