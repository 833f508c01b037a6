"""3x3 convolution by Winograd's F(2x2, 3x3): 16 products where the definition takes 36.

The input is cut into 4x4 tiles with stride 2. The transforms of inputs and outputs have entries 0 and +-1,
those of kernels 0, 1/2 and 1, so for operands +-1 (and the zeros of padding) every intermediate value is a
small multiple of 1/4: the result in float32 is exact, bit for bit that of the definition.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import Array, lax

Parts = Sequence[Array]
Grid = list[list[Array]]


def applies(x: Array, kernel: Array) -> bool:
    """Whether the transform covers this case: 3x3, float32, even height and width."""
    even = x.shape[1] % 2 == 0 and x.shape[2] % 2 == 0
    return kernel.shape[:2] == (3, 3) and even and x.dtype == kernel.dtype == jnp.float32


def convolve(x: Array, kernel: Array) -> Array:
    """Stride 1, one row and column of zeros around: (n, h, w, i), (3, 3, i, o) -> (n, h, w, o)."""
    n, h, w, _ = x.shape
    tiles = _tiles(x)
    kernels = _both_axes(_of_kernel, [[kernel[i, j] for j in range(3)] for i in range(3)])
    products = [[tiles[i][j] @ kernels[i][j] for j in range(4)] for i in range(4)]
    rows = [
        jnp.stack([part.reshape(n, h // 2, w // 2, -1) for part in row], 3)
        for row in _both_axes(_of_products, products)
    ]
    return jnp.stack(rows, 2).reshape(n, h, w, -1)


def kernel_gradient(x: Array, g: Array) -> Array:
    """Gradient of `convolve` with respect to the kernel, for the output's gradient `g` (n, h, w, o)."""
    n, h, w, features = g.shape
    tiles = _tiles(x)
    g = g.reshape(n, h // 2, 2, w // 2, 2, features)
    spread = _both_axes(_of_gradient, [[g[:, :, a, :, b] for b in range(2)] for a in range(2)])
    products = [[contract(tiles[i][j], spread[i][j]) for j in range(4)] for i in range(4)]
    return jnp.stack([jnp.stack(row) for row in _both_axes(_to_kernel, products)])


def contract(a: Array, b: Array) -> Array:
    """Sum over all axes but the last: (..., i), (..., o) -> (i, o)."""
    return lax.dot_general(a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1]), (((0,), (0,)), ((), ())))


def _of_input(d: Parts) -> Parts:
    return d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]


def _of_kernel(k: Parts) -> Parts:
    outer = k[0] + k[2]
    return k[0], 0.5 * (outer + k[1]), 0.5 * (outer - k[1]), k[2]


def _of_products(m: Parts) -> Parts:
    return m[0] + m[1] + m[2], m[1] - m[2] - m[3]


def _of_gradient(g: Parts) -> Parts:
    """Transpose of `_of_products`."""
    return g[0], g[0] + g[1], g[0] - g[1], -g[1]


def _to_kernel(m: Parts) -> Parts:
    """Transpose of `_of_kernel`."""
    inner = 0.5 * (m[1] + m[2])
    return m[0] + inner, 0.5 * (m[1] - m[2]), inner + m[3]


def _both_axes(transform: Callable[[Parts], Parts], grid: Grid) -> Grid:
    columns = [transform([row[j] for row in grid]) for j in range(len(grid[0]))]
    return [list(transform([column[i] for column in columns])) for i in range(len(columns[0]))]


def _tiles(x: Array) -> Grid:
    """The 4 x 4 elements of all transformed tiles, each (n h/2 w/2, channels)."""
    n, h, w, c = x.shape
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    grid = [
        [lax.slice(x, (0, i, j, 0), (n, i + h - 1, j + w - 1, c), (1, 2, 2, 1)) for j in range(4)] for i in range(4)
    ]
    return [[part.reshape(-1, c) for part in row] for row in _both_axes(_of_input, grid)]
