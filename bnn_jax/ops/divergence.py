"""The Kullback-Leibler divergence of softmaxes, which may be almost the same or almost disjoint."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

# Below this |log(p / q)| a series is used, of as many terms as float64 needs.
_NEAR = 0.5
_TERMS = 14


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def softmax_divergence(student: Array, teacher: Array, axes: tuple[int, ...]) -> Array:
    """KL(p || q) of p = softmax(teacher) and q = softmax(student), with the gradient q - p.

    The parts of the definition, p log(p / q), are of both signs, and where p is close to q their sum is what rounding
    leaves of them. These have the same sum, as p and q sum to 1, and are 0 or more; with z = log(p / q)

        p log(p / q) + q - p = p (z + e^-z - 1) = p z^2 / 2 (1 - z / 3 (1 - z / 4 (1 - ...)))

    Args:
      student: Logits, any shape, float32 or wider.
      teacher: Of the same shape and dtype; a constant for the gradient.
      axes: What a distribution runs over.

    Returns:
      The divergences, without `axes`, 0 or more. Value and gradient are finite for logits that are far apart, too.
    """
    log_q, log_p = (jax.nn.log_softmax(logits, axes) for logits in (student, teacher))
    p, z = jnp.exp(log_p), log_p - log_q
    near = jnp.abs(z) < _NEAR
    small = jnp.where(near, z, 0.0)
    series = jnp.ones_like(z)
    for k in range(_TERMS, 2, -1):
        series = 1.0 - small / k * series
    # Not p (z + expm1(-z)) throughout: where p is far below q the second factor overflows.
    parts = jnp.where(near, p * (0.5 * jnp.square(small) * series), p * z + (jnp.exp(log_q) - p))
    return jnp.sum(parts, axes)


@softmax_divergence.defjvp
def _jvp(axes: tuple[int, ...], primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    q, p = (jax.nn.softmax(logits, axes) for logits in primals)
    return softmax_divergence(*primals, axes), jnp.sum((q - p) * tangents[0], axes)
