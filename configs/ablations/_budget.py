"""The budget that all ablations share, so that papers and variants are compared alike.

5,000 training images, 500 of each class and the same for all, and 10 epochs: 390 steps of 128. Schedules follow the
number of epochs, so each method runs through all of its own. Accuracy is measured once, at the end, on the
whole test set.
"""

from bnn_jax.config import Config

EPOCHS = 10
BATCH_SIZE = 128
TRAIN_SIZE = 5_000


def budget(config: Config) -> Config:
    """The same experiment and, before it, its stages within the budget; changes `config` and returns it."""
    for one in (config, *(stage.config for stage in config.stages)):
        one.epochs = EPOCHS
        one.data.batch_size = BATCH_SIZE
        one.data.source.train_size = TRAIN_SIZE
        one.run.eval_every = EPOCHS
    return config
