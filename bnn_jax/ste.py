"""Sign, and the surrogate gradients the field trains it with.

`sign` takes values in {-1, +1} only (zero maps to +1) and is flat almost everywhere, so its true
derivative cannot train anything. A *surrogate* is a function `x -> dy/dx` which is used in its place:

    y = sign(x, gradient=polynomial)

A new surrogate is three lines: a function of one array which returns the slope to use.

    def triangle(x):
        return jnp.maximum(0.0, 1.0 - jnp.abs(x))

    y = sign(x, gradient=triangle)

Parameters that change during training (a temperature, say) must be visible to JAX: return a
`jax.tree_util.Partial` which holds them, as `ede` does, and schedules never recompile.

Everything here works under `jit`, `grad`, `jvp`, `vmap`, `scan`, `remat` and `pmap`. The rules are given
as JVPs, from which JAX derives the VJP by transposition: one definition serves both modes.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

Surrogate = Callable[[Array], Array]


def identity(x: Array) -> Array:
    """Slope 1 everywhere: the straight-through estimator of Hinton (2012) and Bengio et al. (2013)."""
    return jnp.ones_like(x)


def clip(x: Array) -> Array:
    """Slope 1 where |x| <= 1, else 0 (BinaryNet, Hubara et al. 2016; gradient of hardtanh)."""
    return (jnp.abs(x) <= 1).astype(x.dtype)


def polynomial(x: Array) -> Array:
    """Slope max(0, 2 - 2|x|): the piecewise polynomial ("ApproxSign") of Bi-Real Net (Liu et al. 2018)."""
    return jnp.maximum(0.0, 2.0 - 2.0 * jnp.abs(x))


def ede(t: float | Array, k: float | Array) -> Surrogate:
    """Slope k t (1 - tanh(t x)^2): the error decay estimator of IR-Net (Qin et al. 2020).

    Args:
      t: Sharpness, scalar; grows during training. May be traced.
      k: Gain, scalar; `max(1 / t, 1)` in the paper. May be traced.

    Returns:
      A surrogate which carries `t` and `k` as arrays, so that a schedule does not recompile.
    """
    return Partial(_ede_slope, t=t, k=k)


def _ede_slope(x: Array, *, t: Array, k: Array) -> Array:
    return k * t * (1.0 - jnp.square(jnp.tanh(t * x)))


def swish(beta: float | Array = 5.0) -> Surrogate:
    """Slope of SwishSign, beta (2 - z tanh(z/2)) / (1 + cosh z) with z = beta x (BNN+, Darabi et al. 2018).

    Args:
      beta: Sharpness, scalar. May be traced.
    """
    return Partial(_swish_slope, beta=beta)


def _swish_slope(x: Array, *, beta: Array) -> Array:
    # 1 / (1 + cosh z) = 2 sigmoid(z) sigmoid(-z), which cannot overflow; far out, where it is zero, z must be finite.
    z = jnp.clip(beta * x, -1000.0, 1000.0)
    return 2.0 * beta * jax.nn.sigmoid(z) * jax.nn.sigmoid(-z) * (2.0 - z * jnp.tanh(0.5 * z))


SURROGATES: dict[str, Surrogate] = {
    "identity": identity,
    "clip": clip,
    "polynomial": polynomial,
    "swish": swish(),
}


def surrogate(name: str) -> Surrogate:
    """Looks up a parameter-free surrogate by the name used in configs.

    Raises:
      ValueError: For an unknown name; the message lists those known.
    """
    if name not in SURROGATES:
        raise ValueError(f"unknown surrogate gradient {name!r}: expected one of {sorted(SURROGATES)}")
    return SURROGATES[name]


def sign(x: Array, gradient: Surrogate = identity) -> Array:
    """Sign with a surrogate gradient: +1 where x >= 0, else -1.

    Exactly two values come out: both zeros map to +1, NaN to -1. The slope is computed in at least
    float32 and returned in the dtype of `x`.

    Args:
      x: Any shape, any floating dtype.
      gradient: The surrogate, a function `x -> dy/dx` of the same shape; see the module docstring.

    Returns:
      Array like `x` with values in {-1, +1}.

    Raises:
      TypeError: If `x` is not floating point (an integer has no gradient to pass on).

    Example:
      >>> jax.grad(lambda x: sign(x, gradient=polynomial))(0.25)
      Array(1.5, dtype=float32, weak_type=True)
    """
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"sign needs a floating dtype, found {x.dtype}: cast first, e.g. x.astype(jnp.float32)")
    return _sign(x, gradient if isinstance(gradient, Partial) else Partial(gradient))


@jax.custom_jvp
def _sign(x: Array, gradient: Surrogate) -> Array:
    del gradient
    return jnp.where(x >= 0, jnp.ones_like(x), -jnp.ones_like(x))


@_sign.defjvp
def _sign_jvp(primals: tuple[Array, Surrogate], tangents: tuple[Array, Surrogate]) -> tuple[Array, Array]:
    x, gradient = primals
    dx, _ = tangents
    slope = gradient(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
    if getattr(slope, "shape", None) != x.shape:
        found = getattr(slope, "shape", type(slope).__name__)
        raise TypeError(
            f"a surrogate gradient maps an array to slopes of its shape, {x.shape}, found {found} (ede and swish "
            "are called first: gradient=ste.swish())"
        )
    return _sign(x, gradient), slope.astype(x.dtype) * dx


@jax.custom_jvp
def straight_through(value: Array, x: Array) -> Array:
    """Returns `value` exactly, with the derivative of `x`: dy/dx = 1, dy/dvalue = 0.

    The usual `x - stop_gradient(x) + value` rounds, and is then not quite binary.

    Args:
      value: What the forward pass returns; any shape.
      x: What the gradient flows to; same shape and floating dtype as `value`.
    """
    del x
    return value


@straight_through.defjvp
def _straight_through_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    value, x = primals
    _, dx = tangents
    return straight_through(value, x), dx
