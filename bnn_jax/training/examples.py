"""The examples a config names."""

import json
from collections.abc import Callable

from bnn_jax.config import DataConfig, to_dict
from bnn_jax.config.component import options_of, resolve, target_of
from bnn_jax.data import NowhereError, Splits, outline_of

Opener = Callable[[DataConfig], Splits]


def open_splits(config: DataConfig, *, dry: bool = False) -> Splits:
    """Training and test examples.

    Args:
      config: Says which.
      dry: Whether what is known of a published set will do, where the set is in none of the usual places.

    Raises:
      FileNotFoundError: If the data is not there.
      ValueError: If it is damaged, or an option is out of range.
    """
    try:
        splits: Splits = config.source.build()
    except NowhereError:
        outline = outline_of(resolve(target_of(config.source)))
        if not dry or outline is None:
            raise
        return outline(**options_of(config.source))
    return splits


def opener(*, dry: bool = False) -> Opener:
    """`open_splits` which opens the same set once: stages of a recipe share theirs, and a large one takes its time."""
    opened: dict[str, Splits] = {}

    def find(config: DataConfig) -> Splits:
        key = json.dumps(to_dict(config.source), sort_keys=True)
        if key not in opened:
            opened[key] = open_splits(config, dry=dry)
        return opened[key]

    return find
