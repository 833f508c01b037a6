"""In what precision statistics are taken."""

import jax.numpy as jnp
from jax import Array


def wide(x: Array) -> Array:
    """`x` in float32, or as it is if that is wider: in half precision squares overflow and sums lose their ends.

    Args:
      x: Any shape, floating point.

    Returns:
      Array of the same shape; its gradient has the dtype of `x`.
    """
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
