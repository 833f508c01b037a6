"""Learning-rate schedules, as factors of the base rate.

Each factory takes the number of epochs and returns a function of the epoch (an integer, may be traced)
giving the factor used throughout that epoch.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

Schedule = Callable[[Array], Array]


def constant(epochs: int) -> Schedule:
    """Factor 1 throughout."""
    del epochs
    return lambda epoch: jnp.ones_like(epoch, jnp.float32)


def linear(epochs: int, ahead: int = 0) -> Schedule:
    """1 - (epoch + ahead) / epochs: the first epoch runs at the base rate, the last at 1 / epochs of it.

    Args:
      epochs: Length of the run.
      ahead: 1 where a release counts epochs from 1: the first is one step below the base rate, the last runs at 0.
    """
    return lambda epoch: 1.0 - (epoch + ahead) / epochs


def cosine(epochs: int, warmup_epochs: int = 0) -> Schedule:
    """Half a cosine from 1 towards 0, after a linear warm-up.

    During warm-up of w epochs the factor is (epoch + 1) / w; its last epoch, w - 1, is where the cosine
    starts: (1 + cos(pi (epoch - w + 1) / (epochs - w + 1))) / 2.

    Args:
      epochs: Length of the run.
      warmup_epochs: Length of the warm-up; 0 for none.

    Raises:
      ValueError: If the warm-up is not shorter than the run.
    """
    if not 0 <= warmup_epochs < max(epochs, 1):
        raise ValueError(f"warmup_epochs must lie in [0, epochs), found {warmup_epochs} with epochs = {epochs}")
    start = max(warmup_epochs - 1, 0)

    def schedule(epoch: Array) -> Array:
        falling = 0.5 * (1.0 + jnp.cos(jnp.pi * (epoch - start) / (epochs - start)))
        rising = (epoch + 1) / max(warmup_epochs, 1)
        return jnp.where(epoch < warmup_epochs, rising, falling)

    return schedule


def start_at(epochs: int, start: int) -> Schedule:
    """0 before the epoch `start`, 1 from then on: of a term's weight rather than a rate.

    Args:
      epochs: Length of the run.
      start: The first epoch, counted from 0.

    Raises:
      ValueError: If the run has no such epoch.
    """
    if not 0 <= start < epochs:
        raise ValueError(f"start must lie in [0, epochs), found {start} with epochs = {epochs}")
    # Of an epoch that is a fraction of the run times its length, rounding may take a little.
    return lambda epoch: jnp.where(epoch > start - 0.5, 1.0, 0.0)
