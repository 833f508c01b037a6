"""Lighting: the colours of an image shifted along the principal components of ImageNet's (Krizhevsky et al. 2012)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

# Of the covariance of ImageNet's pixels in [0, 1]: eigenvalues, and eigenvectors as columns (red, green, blue).
EIGENVALUES = np.array([0.2175, 0.0188, 0.0045], np.float32)
EIGENVECTORS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], np.float32
)


def shift_colours(images: jax.Array, draws: jax.Array) -> jax.Array:
    """Adds ``255 * sum_i draw_i eigenvalue_i eigenvector_i`` to every pixel, cuts to 0 .. 255 and rounds.

    Args:
      images: ``uint8 (B, H, W, 3)``.
      draws: ``(B, 3)``, normal with the standard deviation wanted, 0.1 as a rule.

    Returns:
      Images of the same shape and dtype.

    Raises:
      ValueError: if shapes or dtypes do not fit.
    """
    return jnp.round(jnp.clip(_shifted(images, draws, 255.0), 0.0, 255.0)).astype(jnp.uint8)


def released_shift(images: jax.Array, draws: jax.Array) -> jax.Array:
    """What ReActNet's release does instead: colours meant for pixels in [0, 1] are added to those in [0, 255].

    What is left of it is that fractions are cut off: pixels of an image stay as they are or fall by one. Arguments and
    errors as :func:`shift_colours`.
    """
    return jnp.floor(jnp.clip(_shifted(images, draws, 1.0), 0.0, 255.0)).astype(jnp.uint8)


def _shifted(images: jax.Array, draws: jax.Array, unit: float) -> jax.Array:
    if images.dtype != jnp.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(
            f"lighting needs uint8 images of shape (B, H, W, 3), found {images.dtype} of shape {images.shape}: the "
            "components are those of red, green and blue"
        )
    if draws.shape != (len(images), 3):
        raise ValueError(f"expected draws of shape {(len(images), 3)}, found {draws.shape}")
    colours = jnp.einsum("ci,bi->bc", EIGENVECTORS, draws * EIGENVALUES[None], precision=jax.lax.Precision.HIGHEST)
    return images.astype(jnp.float32) + unit * colours[:, None, None]


def random_lighting(keys: jax.Array, images: jax.Array, strength: float) -> jax.Array:
    """Shifts the colours of each image by draws of its own, of standard deviation ``strength``.

    Args:
      keys: typed keys ``(B,)``.
      images: ``uint8 (B, H, W, 3)``.
      strength: 0.1 as a rule, static; 0 changes nothing.

    Returns:
      Images of the same shape and dtype.

    Raises:
      ValueError: if the images do not fit.
    """
    if not strength:
        return images
    draws = jax.vmap(lambda key: strength * jax.random.normal(key, (3,)))(keys)
    return shift_colours(images, draws)
