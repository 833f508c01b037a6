"""What a corruption is: where chance enters, what is done to one image, and what the severities mean for its size."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer
from jax.typing import ArrayLike

from bnn_jax.evaluation.corruptions.severities import IMAGENET_C, SEVERITIES, Rows, rows_of

Shape = tuple[int, int, int]

# Far above float32's rounding of pixels in [0, 1], far below a step of 1 / 255.
_SLACK = 2.0**-12
# Images whose constants are in memory together, if each has a severity of its own.
_AT_ONCE = 8


@dataclass(frozen=True)
class Corruption:
    """One corruption: `corruption(key, images, severity, variant)` corrupts images, see `__call__`.

    It is made of three pure functions. What chance decides and what is done with it are apart, so that either can be
    had and tested alone.

    Attributes:
      name: as in the published sets.
      draw: ``(key, (height, width, channels)) -> draws``, whatever the severity; None if there is no chance in it.
      apply: ``(image, draws, constants) -> image`` of one image, float32 (height, width, channels) in [0, 1]; what
        leaves that range is clipped afterwards.
      prepare: ``(rows, shape) -> constants`` from the numbers of the five severities (`severities`): NumPy arrays, the
        first axis of each of which is the severity. Shapes do not depend on it: one compiled program serves all five.
      host: ``(images, constants) -> images``, uint8 NumPy arrays (..., height, width, channels), if the work is done on
        the host anyway: for loops that need not go through a device.
      reads: ``() -> what else `prepare` depends on``, hashable: constants are prepared anew where it is another.
    """

    name: str
    draw: Callable[[Array, Shape], Any]
    apply: Callable[[Array, Any, Any], Array]
    prepare: Callable[[Rows, Shape], Any]
    host: Callable[[np.ndarray, Any], np.ndarray] | None = None
    reads: Callable[[], Hashable] = tuple

    def __call__(self, key: Array, images: ArrayLike, severity: ArrayLike = 1, variant: str = IMAGENET_C) -> Array:
        """Corrupts an image or a batch of them.

        Works under jit, vmap and pmap. Every image has a key of its own: image i of a batch is corrupted with
        `fold_in(key, i)`, or with the i-th of as many keys as there are images; a single image with `key` itself.

        Constants of all five severities are prepared together, once for each size of images, and kept. They grow with
        its area: those of zoom blur, the largest, take 34 MB for 224 x 224 pixels and 0.7 GB for 1024 x 1024.

        Args:
          key: A typed key, `jax.random.key(seed)`, or (n,) of them. With an implementation that vmap draws otherwise
            from ("rbg"), an image's pixels depend on the batch it is in.
          images: uint8 or floating in [0, 1], (height, width, channels) or (n, height, width, channels), of any size,
            with 1 or 3 channels.
          severity: 1 to 5, or (n,) of them, one for each image; then only a few images' constants are in memory at a
            time (maps and textures of large images are large). May be traced: what is then out of range is taken for
            the nearest of 1 and 5.
          variant: Whose severities: "imagenet_c" (made for 224 x 224 pixels) or "cifar10_c" (for 32 x 32).

        Returns:
          Images of the same shape and dtype. uint8 ones are cut to whole numbers, as those of the published sets were.

        Raises:
          ValueError: If an argument is out of its range or of another form. Of pixels that are
            traced the range is not known: there what leaves [0, 1] is clipped, and NaN passed on.
        """
        # Under jit NumPy's arrays would be traced, whose values are not known.
        with jax.ensure_compile_time_eval():
            images = jnp.asarray(images)
        _check(images)
        batch = images if images.ndim == 4 else images[None]
        _check_key(key, len(batch))
        keys = key[None] if images.ndim == 3 and key.ndim == 0 else image_keys(key, len(batch))
        height, width, channels = batch.shape[1:]
        all_five = tables(self, variant, (height, width, channels))
        chosen = _chosen(severity, batch)
        if isinstance(chosen, int):
            result = _run(self, keys, batch, at(all_five, chosen))
        else:
            result = (_run_each if chosen.ndim else _run_one)(self, keys, batch, all_five, chosen)
        return result if images.ndim == 4 else result[0]


def tables(corruption: Corruption, variant: str, shape: Shape) -> Any:
    """A corruption's constants for images of a shape, of all severities: the first axis of every array."""
    return _prepared(corruption, variant, shape, corruption.reads())


@lru_cache(maxsize=64)
def _prepared(corruption: Corruption, variant: str, shape: Shape, read: Hashable) -> Any:
    del read  # a part of the key
    return corruption.prepare(rows_of(variant, corruption.name), shape)


def at(constants: Any, severity: int) -> Any:
    """Constants of one severity.

    Raises:
      ValueError: If it is not one of 1 to 5.
    """
    if severity not in SEVERITIES:
        raise ValueError(f"expected a severity of 1 to {len(SEVERITIES)}, found {severity}")
    return jax.tree.map(lambda table: table[int(severity) - 1], constants)


def image_keys(key: Array, count: int) -> Array:
    """One key for each image: those given, or `fold_in(key, i)`."""
    return key if key.ndim else jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count))


def _check_key(key: Array, count: int) -> None:
    typed = hasattr(key, "dtype") and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    if not typed or key.shape not in ((), (count,)):
        raise ValueError(
            f"expected one typed key, or {count}: one for each image, found {getattr(key, 'dtype', type(key))} of "
            f"shape {getattr(key, 'shape', '?')}. Make one with jax.random.key(seed)."
        )


def to_bytes(x: Array) -> Array:
    """Pixels in [0, 1] as whole numbers of 0 to 255, float32, cut; 8-bit values divided by 255 come back exactly."""
    return jnp.clip(jnp.floor(255.0 * x + _SLACK), 0.0, 255.0)


def corrupt_batch(corruption: Corruption, keys: Array, images: Array, constants: Any) -> Array:
    """What calling a corruption runs: images (n, height, width, channels) with a key each and prepared constants."""
    return jax.vmap(partial(_corrupt, corruption), (0, 0, None))(keys, images, constants)


def _corrupt(corruption: Corruption, key: Array, image: Array, constants: Any) -> Array:
    x = image.astype(jnp.float32)
    x = x / 255.0 if image.dtype == jnp.uint8 else x
    height, width, channels = image.shape
    draws = corruption.draw(key, (height, width, channels))
    y = jnp.clip(corruption.apply(x, draws, constants), 0.0, 1.0)
    return to_bytes(y).astype(jnp.uint8) if image.dtype == jnp.uint8 else y.astype(image.dtype)


_run = jax.jit(corrupt_batch, static_argnums=0)


def _traced(all_five: Any, severity: Array) -> Any:
    """Constants of a severity that is an array."""
    return jax.tree.map(lambda table: jnp.asarray(table)[severity - 1], all_five)


@partial(jax.jit, static_argnums=0)
def _run_one(corruption: Corruption, keys: Array, images: Array, all_five: Any, severity: Array) -> Array:
    return corrupt_batch(corruption, keys, images, _traced(all_five, severity))


@partial(jax.jit, static_argnums=0)
def _run_each(corruption: Corruption, keys: Array, images: Array, all_five: Any, severities: Array) -> Array:
    def one(given: tuple[Array, Array, Array]) -> Array:
        key, image, severity = given
        return _corrupt(corruption, key, image, _traced(all_five, severity))

    # Constants of all images at once would be a gigabyte, for zoom blur of 128 photographs.
    return lax.map(one, (keys, images, severities), batch_size=min(_AT_ONCE, len(images)))


def _chosen(severity: ArrayLike, batch: Array) -> int | Array:
    """The severity, or int32 arrays () or (n,) of them, in their range.

    Raises:
      ValueError: If it is of another form, or known to be out of range.
    """
    if isinstance(severity, int | np.integer) and not isinstance(severity, bool):
        return int(severity)
    with jax.ensure_compile_time_eval():
        chosen = jnp.asarray(severity)
    if not jnp.issubdtype(chosen.dtype, jnp.integer) or chosen.shape not in ((), batch.shape[:1]):
        raise ValueError(
            f"expected a severity, an integer of 1 to 5, or {len(batch)}: one for each image, found {chosen.dtype} of "
            f"shape {chosen.shape}"
        )
    if not isinstance(chosen, Tracer):
        outside = np.setdiff1d(np.asarray(chosen), SEVERITIES)
        if outside.size:
            raise ValueError(f"expected severities of 1 to {len(SEVERITIES)}, found {', '.join(map(str, outside))}")
    return jnp.clip(chosen, SEVERITIES[0], SEVERITIES[-1])


def _check(images: Array) -> None:
    if images.ndim not in (3, 4) or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise ValueError(
            f"expected images of shape (height, width, channels) or (n, height, width, channels) with 1 or 3 channels, "
            f"and at least one pixel, found {images.shape}"
        )
    if images.dtype != jnp.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"expected images of dtype uint8, or floating in [0, 1], found {images.dtype}")
    if images.dtype != jnp.uint8 and not isinstance(images, Tracer):
        # Images that a traced function closes over are known too.
        with jax.ensure_compile_time_eval():
            least, largest = float(jnp.min(images)), float(jnp.max(images))
            # Least and largest do not tell: on some devices they pass NaN over.
            has_nan = bool(jnp.isnan(images).any())
        if has_nan:
            raise ValueError("expected floating images in [0, 1], found NaN: mend what made it")
        if least < -_SLACK or largest > 1.0 + _SLACK:
            raise ValueError(
                f"expected floating images in [0, 1], found values from {least:g} to {largest:g}: corrupt them before "
                "they are normalized; divide 0 to 255 by 255"
            )


def no_draws(key: Array, shape: Shape) -> None:
    """What chance decides in a corruption without chance."""
    del key, shape


def column(rows: Rows, index: int, dtype: Any = np.float32) -> np.ndarray:
    """One of the numbers of every severity: (5,)."""
    return np.array([row[index] for row in rows], dtype)
