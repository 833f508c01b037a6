"""Exact order statistics."""

import jax.numpy as jnp
from jax import Array, lax


def order_statistic(x: Array, rank: Array) -> Array:
    """x (n, c) float32, rank (c,) int -> (c,)"""
    s = jnp.sort(x, axis=0)
    return jnp.take_along_axis(s, jnp.broadcast_to(rank, (x.shape[1],))[None], axis=0)[0]


def top_mask(x: Array, count) -> Array:
    """x (n, c); True on the count largest of each column, ties in index order."""
    n = x.shape[0]
    count = jnp.broadcast_to(count, (x.shape[1],))
    threshold = order_statistic(x, jnp.clip(n - count, 0, n - 1))
    above = x > threshold[None]
    tied = x == threshold[None]
    room = count - above.sum(0)
    return above | (tied & (jnp.cumsum(tied, axis=0) <= room[None]))


def percentiles(x: Array, q) -> Array:
    return jnp.percentile(x, q)
