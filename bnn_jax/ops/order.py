"""Exact masks of what lies above an order statistic of its column, and percentiles of whole arrays.

On the CPU, where sorting is slow, a value is found by counting (`bnn_jax.ops.selection`); elsewhere columns are
sorted. Both give the same. Nothing here is differentiated: what comes out is constant.

Masks are made here and not by comparing with a threshold outside: XLA may compute `x` again wherever it is used,
and round it otherwise there, so that a threshold taken from one copy need not be found in another.
"""

from functools import partial

import jax.numpy as jnp
from jax import Array, lax

from bnn_jax.ops import selection


def above(x: Array, rank: int | Array) -> Array:
    """True where a value exceeds the one at place `rank`, from 0, of its sorted column.

    Args:
      x: (n, c), float32 or float64, without NaN.
      rank: In [0, n); an integer, or one for each column (c,). May be traced.

    Returns:
      (n, c), bool.
    """
    x, rank = lax.stop_gradient(x), _per_column(rank, x)
    return lax.platform_dependent(x, rank, cpu=selection.above, default=partial(_mask_by_sorting, ties=False))


def top_mask(x: Array, count: int | Array) -> Array:
    """True at the `count` largest values of each column; among equal values the lower index wins.

    Args:
      x: (n, c), float32 or float64, without NaN.
      count: In [1, n]; an integer, or one for each column (c,). May be traced.

    Returns:
      (n, c), bool, with exactly `count` True in each column.
    """
    x, rank = lax.stop_gradient(x), x.shape[0] - _per_column(count, x)
    return lax.platform_dependent(x, rank, cpu=selection.top, default=partial(_mask_by_sorting, ties=True))


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


def _per_column(rank: int | Array, x: Array) -> Array:
    return jnp.broadcast_to(jnp.asarray(rank, jnp.int32), x.shape[1:])


def _all_by_sorting(x: Array, ranks: Array) -> tuple[Array, Array]:
    values = jnp.sort(x.reshape(-1))
    return values[ranks], values[jnp.minimum(ranks + 1, x.size - 1)]


def _mask_by_sorting(x: Array, rank: Array, *, ties: bool) -> Array:
    """Mask of the places from `rank` on (`ties`), or of the values beyond that of `rank`, put back in order."""
    place = lax.broadcasted_iota(jnp.int32, x.shape, 0)
    # Reversed, so that among equal values the lower index comes last, which is to say is taken first.
    values, origin = lax.sort((x[::-1], place[::-1]), dimension=0, num_keys=1, is_stable=True)
    chosen = place >= rank[None] if ties else values > jnp.take_along_axis(values, rank[None], axis=0)
    return lax.sort((origin, chosen), dimension=0, num_keys=1)[1]
