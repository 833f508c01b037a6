"""What to watch in a binary network while it trains: pure functions of codes and weights.

A code holds values in {-1, +1}, any shape and dtype, filters along the last axis.

    flips = flip_ratio(code_before, code_after)
"""

import jax.numpy as jnp
from jax import Array


def flip_ratio(before: Array, after: Array) -> Array:
    """Share of code bits which differ between two steps: mean[b_(t-1) != b_t].

    Args:
      before: Code of one step.
      after: Code of a later one, same shape.

    Returns:
      Float32 scalar in [0, 1].
    """
    return jnp.mean(before != after, dtype=jnp.float32)


def flip_back_ratio(first: Array, second: Array, third: Array) -> Array:
    """Share of code bits which flip and flip back: mean[b_(t-2) != b_(t-1) and b_(t-1) != b_t].

    Such bits oscillate from step to step. Never more than the flip ratio of either pair of steps.

    Args:
      first: Code of step t - 2.
      second: Code of step t - 1, same shape.
      third: Code of step t, same shape.

    Returns:
      Float32 scalar in [0, 1].
    """
    return jnp.mean((first != second) & (second != third), dtype=jnp.float32)


def unmoved_share(before: Array, after: Array, rounding: float = 0.0) -> Array:
    """Share of dead latent weights: those which a step left where they were.

    Args:
      before: Latent weight before a step.
      after: The same after the step, same shape.
      rounding: How far apart two equal weights may be, as a share of the largest magnitude of `before`: 0 if both
        were computed alike.

    Returns:
      Float32 scalar in [0, 1].
    """
    near = jnp.abs(after - before) <= rounding * jnp.max(jnp.abs(before))
    return jnp.mean((before == after) | near, dtype=jnp.float32)


def bit_entropy(code: Array) -> Array:
    """Information per weight, mean over filters of H(p) = -p log2 p - (1 - p) log2(1 - p), p the share of +1.

    Args:
      code: `(..., features)`.

    Returns:
      Float32 scalar in [0, 1] bit: 1 where each filter is half +1, half -1; 0 where each is constant.
    """
    p = jnp.mean(code > 0, axis=tuple(range(code.ndim - 1)), dtype=jnp.float32)
    return jnp.mean(_entropy_term(p) + _entropy_term(1.0 - p))


def _entropy_term(p: Array) -> Array:
    return -p * jnp.log2(jnp.where(p > 0, p, 1.0))  # 0 log 0 = 0
