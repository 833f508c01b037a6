"""The budget that all ablations share, so that papers and variants are compared alike.

10,000 training images chosen at random, the same for all, and 10 epochs: 780 steps of 128. Schedules follow the number
of epochs, so each method runs through all of its own. Accuracy is measured once, at the end, on the whole test set.
"""

from bnn_jax.config import Config

EPOCHS = 10
TRAIN_EXAMPLES = 10_000


def budget(config: Config) -> Config:
    """The same experiment and, before it, its stages within the budget; changes `config` and returns it."""
    for one in (config, *(stage.config for stage in config.stages)):
        one.epochs = EPOCHS
        one.data.train_examples = TRAIN_EXAMPLES
        one.run.eval_every = EPOCHS
    return config
