"""Exact order statistics of columns and of whole arrays.

On the CPU, where sorting is slow, a value is found without sorting: floats of one sign are ordered as their
bits are, so the answer is built bit by bit from the top, each bit by one pass that compares and counts.
Elsewhere columns are sorted. Both give the same bits.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax


def order_statistic(x: Array, rank: int | Array) -> Array:
    """The value at place `rank`, from 0, of each sorted column.

    Args:
      x: (n, c), float32 or float64, without NaN. Negative zero counts as zero.
      rank: In [0, n); an integer, or one for each column (c,). May be traced.

    Returns:
      (c,), of the dtype of `x`.
    """
    rank = jnp.broadcast_to(jnp.asarray(rank, jnp.int32), x.shape[1:])
    return lax.platform_dependent(x, rank, cpu=_by_bits, default=_by_sorting)


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
    position = q.astype(x.dtype) / 100 * (x.size - 1)
    below = jnp.clip(jnp.floor(position).astype(jnp.int32), 0, x.size - 1)
    above = jnp.minimum(below + 1, x.size - 1)
    ranks = jnp.concatenate([below, above])
    low, high = jnp.split(lax.platform_dependent(x, ranks, cpu=_all_by_bits, default=_all_by_sorting), 2)
    # Exactly `low` where the neighbours are equal, whatever the fraction.
    return low + (high - low) * (position - below)


def _by_sorting(x: Array, rank: Array) -> Array:
    return jnp.take_along_axis(jnp.sort(x, axis=0), rank[None], axis=0)[0]


def _all_by_sorting(x: Array, ranks: Array) -> Array:
    return jnp.sort(x.reshape(-1))[ranks]


def _by_bits(x: Array, rank: Array) -> Array:
    keys = _keys(x)

    def count_below(trial: Array) -> Array:
        return jnp.sum(keys < trial[None], axis=0, dtype=jnp.int32)

    return _value(_search(count_below, rank, keys.dtype), x.dtype)


def _all_by_bits(x: Array, ranks: Array) -> Array:
    # Counted along the lanes first: a sum over everything at once is not vectorized.
    lanes = next(size for size in (512, 256, 128, 64, 32, 16, 8, 4, 2, 1) if x.size % size == 0)
    keys = _keys(x).reshape(-1, lanes)

    def count_below(trials: Array) -> Array:
        counts = [jnp.sum(jnp.sum(keys < t, axis=0, dtype=jnp.int32)) for t in trials]
        return jnp.stack(counts)

    return _value(_search(count_below, ranks, keys.dtype), x.dtype)


def _search(count_below: Callable[[Array], Array], rank: Array, dtype: jnp.dtype) -> Array:
    """The largest key that no more than `rank` keys lie below, bit by bit: the key of that rank."""
    bits = jnp.iinfo(dtype).bits

    def step(i: Array, found: Array) -> Array:
        trial = found | (jnp.ones((), dtype) << (bits - 1 - i).astype(dtype))
        return jnp.where(count_below(trial) <= rank, trial, found)

    return lax.fori_loop(0, bits, step, jnp.zeros(rank.shape, dtype))


def _keys(x: Array) -> Array:
    """Unsigned integers in the order of the floats."""
    unsigned = jnp.uint32 if x.dtype == jnp.float32 else jnp.uint64
    bits = lax.bitcast_convert_type(jnp.where(x == 0, jnp.zeros_like(x), x), unsigned)
    top = jnp.ones((), unsigned) << (jnp.iinfo(unsigned).bits - 1)
    return jnp.where(bits < top, bits | top, ~bits)


def _value(keys: Array, dtype: jnp.dtype) -> Array:
    """The floats of those keys."""
    top = jnp.ones((), keys.dtype) << (jnp.iinfo(keys.dtype).bits - 1)
    return lax.bitcast_convert_type(jnp.where(keys < top, ~keys, keys & ~top), dtype)
