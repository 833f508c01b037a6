"""Augmentation on the device: pure functions for use inside jit.

Every example has its own key, made from its place in the global batch, so the pixels do not depend on how the
batch is divided over devices or processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from bnn_jax.data.lighting import random_lighting

__all__ = ["augment", "example_keys", "normalize", "random_crop", "random_flip"]


def example_keys(key: jax.Array, step: ArrayLike, first_index: ArrayLike, count: int) -> jax.Array:
    """Keys for consecutive examples of the global batch.

    Args:
      key: one typed key, ``jax.random.key(seed)``.
      step: number of the training step; may be traced.
      first_index: place of the first example in the global batch; may be traced.
      count: number of examples, static.

    Returns:
      Typed keys ``(count,)``.
    """
    step_key = jax.random.fold_in(key, step)
    return jax.vmap(jax.random.fold_in, (None, 0))(step_key, first_index + jnp.arange(count))


def _check(keys: jax.Array, images: jax.Array) -> None:
    if images.ndim != 4:
        raise ValueError(f"expected images of shape (B, H, W, C), found {images.shape}. Add the batch axis.")
    typed = jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)
    if not typed or keys.shape != images.shape[:1]:
        raise ValueError(
            f"expected one typed key per image, shape {images.shape[:1]}, found {keys.dtype} of shape "
            f"{keys.shape}. Make them with example_keys(jax.random.key(seed), step, 0, {len(images)})."
        )


def random_crop(keys: jax.Array, images: jax.Array, padding: int = 4) -> jax.Array:
    """Pads every side with zeros and cuts out a window of the old size at a random place.

    Use it before :func:`normalize`: the border is then black, as in the usual recipe, not the mean colour.

    Args:
      keys: typed keys ``(B,)``.
      images: ``(B, H, W, C)``, any dtype.
      padding: pixels on each side, static; 0 changes nothing.

    Returns:
      Images of the same shape and dtype.

    Raises:
      ValueError: if shapes do not fit or padding is negative.
    """
    _check(keys, images)
    if padding < 0:
        raise ValueError(f"expected padding of 0 or more pixels, found {padding}. Use 0 for no crop.")
    if padding == 0:
        return images
    sides = ((0, 0), (padding, padding), (padding, padding), (0, 0))

    def crop(key: jax.Array, padded: jax.Array) -> jax.Array:
        row, column = jax.random.randint(key, (2,), 0, 2 * padding + 1)
        return jax.lax.dynamic_slice(padded, (row, column, 0), images.shape[1:])

    return jax.vmap(crop)(keys, jnp.pad(images, sides))


def random_flip(keys: jax.Array, images: jax.Array) -> jax.Array:
    """Mirrors each image left to right with probability one half.

    Args:
      keys: typed keys ``(B,)``; other ones than :func:`random_crop` gets, so that the two are independent.
      images: ``(B, H, W, C)``, any dtype.

    Returns:
      Images of the same shape and dtype.

    Raises:
      ValueError: if shapes do not fit.
    """
    _check(keys, images)
    flipped = jax.vmap(jax.random.bernoulli)(keys)
    return jnp.where(flipped[:, None, None, None], images[:, :, ::-1], images)


def normalize(images: jax.Array, mean: Sequence[float], std: Sequence[float]) -> jax.Array:
    """``(images / 255 - mean) / std``, per channel.

    Args:
      images: ``uint8 (..., C)``.
      mean: length ``C``, in ``[0, 1]`` units.
      std: length ``C``, in the same units.

    Returns:
      ``float32 (..., C)``.

    Raises:
      ValueError: if the images are not uint8 or the lengths differ from ``C``.
    """
    if images.dtype != jnp.uint8:
        raise ValueError(f"expected images of dtype uint8, found {images.dtype}. Normalize once, as the last step.")
    channels = images.shape[-1]
    if len(mean) != channels or len(std) != channels:
        raise ValueError(
            f"expected mean and std of length {channels}, one value per channel, found {len(mean)} and "
            f"{len(std)}. Take both from the data set's info."
        )
    shape = (1,) * (images.ndim - 1) + (channels,)
    centre, spread = (jnp.asarray(values, jnp.float32).reshape(shape) for values in (mean, std))
    return (images.astype(jnp.float32) / 255 - centre) / spread


def augment(
    keys: jax.Array,
    images: jax.Array,
    *,
    crop_padding: int,
    flip: bool,
    mean: Sequence[float],
    std: Sequence[float],
    lighting: float = 0.0,
) -> jax.Array:
    """The usual recipe: crop, flip, shift colours, normalize.

    Args:
      keys: typed keys ``(B,)``, see :func:`example_keys`.
      images: ``uint8 (B, H, W, C)``.
      crop_padding: pixels for :func:`random_crop`, static; 0 for none.
      flip: whether to flip at random, static. Digits and letters must not be flipped.
      mean: as for :func:`normalize`.
      std: as for :func:`normalize`.
      lighting: strength of :func:`~bnn_jax.data.lighting.random_lighting`, static; 0 for none.

    Returns:
      ``float32 (B, H, W, C)``.

    Raises:
      ValueError: if shapes, dtypes or lengths do not fit.

    Example:
      >>> keys = example_keys(jax.random.key(0), step=3, first_index=0, count=2)
      >>> images = jnp.full((2, 4, 4, 1), 255, jnp.uint8)
      >>> augment(keys, images, crop_padding=0, flip=True, mean=[0.5], std=[0.5]).max().item()
      1.0
    """
    crop_keys, flip_keys, light_keys = (jax.vmap(partial(jax.random.fold_in, data=i))(keys) for i in (0, 1, 2))
    images = random_crop(crop_keys, images, crop_padding)
    if flip:
        images = random_flip(flip_keys, images)
    images = random_lighting(light_keys, images, lighting)
    return normalize(images, mean, std)
