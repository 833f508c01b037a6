"""A training step on random data, to be timed or profiled."""

import time

from benchmarks.train_step import synthetic
from bnn_jax.config import Config, component
from bnn_jax.data import train_iterator
from bnn_jax.training import parallel
from bnn_jax.training.experiment import assemble


class Step:
    """An experiment's step on one batch of random images of CIFAR's shape."""

    def __init__(self, config: Config, batch: int):
        config.data.source, config.data.batch_size = component(synthetic), batch
        self.experiment = assemble(config)
        self.state = parallel.replicate(self.experiment.init_state())
        self.batch = parallel.split(next(train_iterator(self.experiment.splits.train, batch_size=batch, seed=0)))

    def seconds(self, steps: int) -> float:
        """Runs some steps and says how long they took."""
        began = time.perf_counter()
        for _ in range(steps):
            self.state, metrics = self.experiment.train_step(self.state, self.batch)
        float(metrics.loss)
        return time.perf_counter() - began
