"""Order statistics without sorting, by counting.

The value of a rank is the one that just so many values lie below. Where it must lie is narrowed by passes over
the data which count what lies below a trial; trials interpolate between the counts at both ends, and every
third one halves the interval, so that no distribution takes many. About ten passes do, where sorting takes
as many with far more work in each.

Floats are compared as unsigned integers of the same order, on which an interval can be halved to nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax


class _Bracket(NamedTuple):
    """Where the keys of some ranks lie: low <= key < high, with the counts of keys below both ends."""

    low: Array
    high: Array
    below_low: Array
    below_high: Array
    passes: Array


def of_columns(x: Array, rank: Array) -> Array:
    """The values at places `rank` (c,) of the sorted columns of `x` (n, c)."""
    keys = _keys(x)

    def count_below(trial: Array) -> Array:
        return jnp.sum(keys < trial[None], axis=0, dtype=jnp.int32)

    ends = jnp.min(keys, 0), jnp.max(keys, 0)
    low = _search(count_below, rank, *ends, keys.shape[0])
    return _values(_least_from(keys, low), x.dtype)


def of_all_with_next(x: Array, ranks: Array) -> tuple[Array, Array]:
    """The values at places `ranks` (k,) among all of `x`, sorted, and those at the places after them."""
    flat = _keys(x).reshape(-1)
    # In rows of lanes, each of which sums by itself: a sum over everything at once is not vectorized.
    lanes = 512 if flat.size >= 2**14 else 8
    top = _largest(flat)
    keys = jnp.pad(flat, (0, -flat.size % lanes), constant_values=top).reshape(-1, lanes)

    def count(below: Callable[[Array], Array], trials: Array) -> Array:
        return jnp.stack([jnp.sum(jnp.sum(below(t), axis=0, dtype=jnp.int32), dtype=jnp.int32) for t in trials])

    least, largest = (jnp.broadcast_to(end, ranks.shape) for end in (jnp.min(flat), jnp.max(flat)))
    low = _search(lambda trials: count(lambda t: keys < t, trials), ranks, least, largest, flat.size)
    found = jnp.stack([jnp.min(jnp.where(flat >= v, flat, top)) for v in low])
    larger = jnp.stack([jnp.min(jnp.where(flat > v, flat, top)) for v in found])
    up_to = count(lambda t: keys <= t, found) - (found == top) * (keys.size - flat.size)
    following = jnp.where((up_to > ranks + 1) | (larger == top), found, larger)
    return _values(found, x.dtype), _values(following, x.dtype)


def _search(count_below: Callable[[Array], Array], rank: Array, least: Array, largest: Array, n: int) -> Array:
    """Keys such that the least key of the data not below them is that of the rank."""

    def settled(b: _Bracket) -> Array:
        return (b.below_low == rank) | (b.high - b.low <= 1)

    def narrow(b: _Bracket) -> _Bracket:
        width = b.high - b.low
        share = (rank - b.below_low + 0.5) / jnp.maximum(b.below_high - b.below_low, 1).astype(jnp.float32)
        # Far apart, a share of the width is rounded; close together, it is exact.
        guess = (width.astype(jnp.float32) * jnp.clip(share, 0.0, 1.0)).astype(width.dtype)
        step = jnp.where(b.passes % 3 == 2, width // 2, guess)
        trial = b.low + jnp.clip(step, 1, jnp.maximum(width, 2) - 1)
        below = count_below(trial)
        lower = (below <= rank) & ~settled(b)
        upper = (below > rank) & ~settled(b)
        return _Bracket(
            jnp.where(lower, trial, b.low),
            jnp.where(upper, trial, b.high),
            jnp.where(lower, below, b.below_low),
            jnp.where(upper, below, b.below_high),
            b.passes + 1,
        )

    zero = jnp.zeros_like(rank)
    start = _Bracket(least, largest + 1, zero, zero + n, jnp.zeros((), jnp.int32))
    return lax.while_loop(lambda b: ~jnp.all(settled(b)), narrow, start).low


def _least_from(keys: Array, low: Array) -> Array:
    return jnp.min(jnp.where(keys >= low[None], keys, _largest(keys)), axis=0)


def _largest(keys: Array) -> Array:
    return jnp.array(jnp.iinfo(keys.dtype).max, keys.dtype)


def _keys(x: Array) -> Array:
    """Unsigned integers in the order of the floats."""
    unsigned = jnp.uint32 if x.dtype == jnp.float32 else jnp.uint64
    bits = lax.bitcast_convert_type(jnp.where(x == 0, jnp.zeros_like(x), x), unsigned)
    top = jnp.ones((), unsigned) << (jnp.iinfo(unsigned).bits - 1)
    return jnp.where(bits < top, bits | top, ~bits)


def _values(keys: Array, dtype: jnp.dtype) -> Array:
    """The floats of those keys."""
    top = jnp.ones((), keys.dtype) << (jnp.iinfo(keys.dtype).bits - 1)
    return lax.bitcast_convert_type(jnp.where(keys < top, ~keys, keys & ~top), dtype)
