"""What statistics are taken in: float32 or wider, and gradients in the dtype that came."""

import jax
import jax.numpy as jnp
import pytest

from bnn_jax.ops.precision import wide


@pytest.mark.parametrize(
    ("given", "found"),
    [("float16", "float32"), ("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")],
)
def test_half_precision_becomes_float32_and_what_is_wider_stays(given, found):
    with jax.enable_x64(True):
        x = jnp.asarray([-1.5, 300.0], given)
        assert wide(x).dtype == found
        assert wide(x).tolist() == x.tolist()
        # The square of 300 is more than float16 holds.
        grad = jax.grad(lambda x: jnp.sum(wide(x) ** 2) / 1e3)(x)
        assert grad.dtype == given
        assert jnp.isfinite(grad).all()
