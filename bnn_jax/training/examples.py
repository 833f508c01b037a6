"""The examples a config names."""

from bnn_jax.config import Component, DataConfig
from bnn_jax.data import Splits, outline_of


def open_splits(config: DataConfig, *, dry: bool = False) -> Splits:
    """Training and test examples.

    Args:
      config: Says which.
      dry: Whether what is known of a published set will do, where the set itself is not there.

    Raises:
      FileNotFoundError: If the data is not there.
      ValueError: If it is damaged, or an option is out of range.
    """
    source: Component = config.source
    try:
        splits: Splits = source.build()
    except FileNotFoundError:
        outline = outline_of(source.function)
        if not dry or outline is None:
            raise
        return outline(**source.options())
    return splits
