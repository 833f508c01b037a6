"""Order statistics without sorting, by counting.

The value of a rank is the one that just so many values lie below. Where it must lie is narrowed by passes over
the data which count what lies below a trial. Trials interpolate between the counts at both ends, and every third
one halves the interval, so that no distribution takes many: some ten passes do.

Floats are compared as integers of the same order, on which an interval can be halved to nothing. All passes run
inside loops: what a loop reads is computed once and lies in memory, whereas elsewhere XLA may compute it again for
each use, and not to the same bits.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax


class _Bracket(NamedTuple):
    """Where the keys of some ranks lie: low <= key < high, with the counts of keys below both ends."""

    low: Array
    high: Array
    below_low: Array
    below_high: Array
    passes: Array


def of_all_with_next(x: Array, ranks: Array) -> tuple[Array, Array]:
    """The values at places `ranks` (k,) among all of `x`, sorted, and those at the places after them."""
    flat = _keys(x).reshape(-1)
    # In rows of lanes, each of which sums by itself: a sum over everything at once is not vectorized.
    lanes = 512 if flat.size >= 2**14 else 8
    top = _largest(flat.dtype)
    keys = jnp.pad(flat, (0, -flat.size % lanes), constant_values=top).reshape(-1, lanes)

    def count_below(trials: Array) -> Array:
        return jnp.stack([jnp.sum(_count(keys < t), dtype=jnp.int32) for t in trials])

    def least_from(bounds: Array) -> Array:
        return jnp.stack([jnp.min(jnp.min(jnp.where(keys >= t, keys, top), axis=0)) for t in bounds])

    def largest_to(bounds: Array) -> Array:
        least = _least(keys.dtype)
        # Padding is not data.
        return jnp.stack([jnp.max(jnp.max(jnp.where(keys < t, keys, least), axis=0)) for t in bounds])

    def following(found: Array) -> Array:
        repeats = count_below(found + 1) > ranks + 1
        larger = least_from(found + 1)
        return jnp.where(repeats | (larger == top), found, larger)

    found = _search(count_below, least_from, largest_to, ranks, keys.dtype, flat.size)
    return _values(found, x.dtype), _values(_in_loop(following, found), x.dtype)


def above(x: Array, rank: Array) -> Array:
    """True where a value exceeds the one at place `rank` (c,) of its sorted column of `x` (n, c)."""
    keys = _keys(x)
    return _compare(keys, _search_columns(keys, rank), lambda keys, threshold: keys > threshold[None])


def top(x: Array, rank: Array) -> Array:
    """True at the values from place `rank` (c,) on of the sorted columns; of equal ones at the lower indices."""
    keys, count = _keys(x), x.shape[0] - rank

    def mask(keys: Array, threshold: Array) -> Array:
        reached = keys >= threshold[None]

        def with_ties() -> Array:
            larger = keys > threshold[None]
            room = count - jnp.sum(larger, axis=0, dtype=jnp.int32)
            nth = jnp.cumsum(reached & ~larger, axis=0, dtype=jnp.int32)
            return larger | (reached & (nth <= room[None]))

        exact = jnp.sum(reached, axis=0, dtype=jnp.int32) == count
        return lax.cond(jnp.all(exact), lambda: reached, with_ties)

    return _compare(keys, _search_columns(keys, rank), mask)


def _search_columns(keys: Array, rank: Array) -> Array:
    least, largest = _least(keys.dtype), _largest(keys.dtype)

    def count_below(trial: Array) -> Array:
        return _count(keys < trial[None])

    def least_from(bound: Array) -> Array:
        return jnp.min(jnp.where(keys >= bound[None], keys, largest), axis=0)

    def largest_to(bound: Array) -> Array:
        return jnp.max(jnp.where(keys < bound[None], keys, least), axis=0)

    return _search(count_below, least_from, largest_to, rank, keys.dtype, keys.shape[0])


def _count(marked: Array) -> Array:
    """The number of True in each column of (n, c)."""
    # In bytes first, of which a register holds many; no more rows at once than a byte can count.
    n, rows = marked.shape[0], 128
    whole = n - n % rows
    groups = marked[:whole].reshape(-1, rows, marked.shape[1])
    counts = jnp.sum(jnp.sum(groups, axis=1, dtype=jnp.uint8), axis=0, dtype=jnp.int32)
    return counts + jnp.sum(marked[whole:], axis=0, dtype=jnp.int32)


def _search(
    count_below: Callable[[Array], Array],
    least_from: Callable[[Array], Array],
    largest_to: Callable[[Array], Array],
    rank: Array,
    dtype: jnp.dtype,
    n: int,
) -> Array:
    """The keys of some ranks, by passes over the data."""

    def settled(b: _Bracket) -> Array:
        return (b.below_low == rank) | (_width(b) <= 1)

    def narrow(b: _Bracket) -> _Bracket:
        width = _width(b)
        share = (rank - b.below_low + 0.5) / jnp.maximum(b.below_high - b.below_low, 1).astype(jnp.float32)
        # Far apart, a share of the width is rounded; close together, it is exact.
        guess = (width.astype(jnp.float32) * jnp.clip(share, 0.0, 1.0)).astype(width.dtype)
        step = jnp.clip(jnp.where(b.passes % 3 == 2, width // 2, guess), 1, jnp.maximum(width, 2) - 1)
        trial = b.low + step.astype(dtype)
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
    ends = jnp.full(rank.shape, _least(dtype)), jnp.full(rank.shape, _largest(dtype))
    low, high = _in_loop(lambda t: (least_from(t[0]), largest_to(t[1]) + 1), ends)
    start = _Bracket(low, high, zero, zero + n, jnp.zeros((), jnp.int32))
    found = lax.while_loop(lambda b: ~jnp.all(settled(b)), narrow, start).low
    return _in_loop(least_from, found)


def _width(b: _Bracket) -> Array:
    unsigned = jnp.dtype(f"uint{8 * b.low.dtype.itemsize}")
    return b.high.astype(unsigned) - b.low.astype(unsigned)


def _compare(keys: Array, threshold: Array, mask: Callable[[Array, Array], Array]) -> Array:
    """`mask(keys, threshold)` of the very keys that the threshold was found among."""
    return _in_loop(lambda t: mask(keys, t), threshold)


def _in_loop(function: Callable[[Any], Any], argument: Any) -> Any:
    """`function(argument)`, computed in a loop."""

    # From the second round on, with an argument that changes: what does not, XLA takes out of a loop.
    def body(i: Array, state: tuple[Any, Any]) -> tuple[Any, Any]:
        return argument, lax.cond(i == 0, lambda: empty, lambda: function(state[0]))

    other = jax.tree.map(jnp.zeros_like, argument)
    shapes = jax.eval_shape(function, argument)
    empty = jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), shapes)
    return lax.fori_loop(0, 2, body, (other, empty))[1]


def _least(dtype: jnp.dtype) -> Array:
    return jnp.array(jnp.iinfo(dtype).min, dtype)


def _largest(dtype: jnp.dtype) -> Array:
    return jnp.array(jnp.iinfo(dtype).max, dtype)


def _keys(x: Array) -> Array:
    """Signed integers in the order of the floats; neither end of their range occurs, but for a NaN."""
    signed = jnp.dtype(f"int{8 * x.dtype.itemsize}")
    bits = lax.bitcast_convert_type(jnp.where(x == 0, jnp.zeros_like(x), x), signed)
    return _flip_negative(bits)


def _values(keys: Array, dtype: jnp.dtype) -> Array:
    """The floats of those keys."""
    return lax.bitcast_convert_type(_flip_negative(keys), dtype)


def _flip_negative(bits: Array) -> Array:
    """Negative floats grow in magnitude as their bits do: all but their sign is turned round; its own inverse."""
    return jnp.where(bits < 0, bits ^ _largest(bits.dtype), bits)
