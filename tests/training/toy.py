"""A network and a data set small enough to train in a second, and configs of them.

What they are made of can be named in a config file, so that `train.py` runs them too.
"""

import os
import signal
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bnn_jax import losses
from bnn_jax.binarizers import ActivationBinarizer, WeightBinarizer, siman, siman_activations
from bnn_jax.config import Config, DataConfig, LossConfig, OptimizerConfig, RunConfig, component
from bnn_jax.data import ArraySource, Splits, digits
from bnn_jax.layers import BatchNorm, BinaryConv, BinaryDense
from bnn_jax.training import optimizer, schedules
from bnn_jax.training.assembly import assemble
from bnn_jax.training.checkpoint import Checkpoints
from bnn_jax.training.console import Console
from bnn_jax.training.loop import Loop
from bnn_jax.training.run_log import read_log
from bnn_jax.training.signals import StopRequest

# For processes of their own: compiles faster, and what is compared is compiled alike.
XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_force_host_platform_device_count={}"

CONFIG_FILE = """
from tests.training import toy

def get_config():
    return toy.config()
"""


class Network(nn.Module):
    """Binary convolution with a skip, batch norm, mean over space, dense layer, full-precision classifier."""

    num_classes: int
    width: int
    weights: WeightBinarizer | None
    activations: ActivationBinarizer | None
    binary_dense: bool = True
    axis_name: str | None = None

    def over_axis(self, name):
        return self.clone(axis_name=name)

    @nn.compact
    def __call__(self, x, *, train=False, progress=0.0):
        conv = BinaryConv(self.width, self.weights, self.activations, name="conv")
        # Without a skip the batch norm would leave no gradient to the scale but rounding errors.
        x = conv(x, train=train, progress=progress) + jnp.mean(x, -1, keepdims=True)
        features = {"conv": x}
        x = jnp.mean(BatchNorm(self.axis_name, name="norm")(x, train=train) ** 2, (1, 2))
        weights = self.weights if self.binary_dense else None
        x = BinaryDense(8, weights, name="dense")(x, train=train, progress=progress)
        return BinaryDense(self.num_classes, name="classifier")(x), features


def network(
    num_classes: int,
    width: int = 4,
    weights: WeightBinarizer | None = None,
    activations: ActivationBinarizer | None = None,
    binary_dense: bool = True,
) -> Network:
    return Network(num_classes, width, weights, activations, binary_dense)


class Ambush(ArraySource):
    """Sends this process a signal when the batch of a certain number is read: `BNN_TOY_AMBUSH=signal@batch`."""

    read = 0

    def gather(self, indices):
        number, _, batch = os.environ.get("BNN_TOY_AMBUSH", "").partition("@")
        Ambush.read += 1
        if number and Ambush.read == int(batch):
            os.kill(os.getpid(), signal.Signals[number])
        return super().gather(indices)


def mimic() -> losses.Learning:
    """Squared distance from the teacher's logits, times a gain which is learned."""

    def term(outputs):
        return jnp.mean((outputs.learned["gain"] * outputs.logits - outputs.require_teacher("mimic").logits) ** 2)

    return losses.Learning(term, lambda: {"gain": jnp.ones(())})


def mimic_loss() -> LossConfig:
    return LossConfig("mimic", component(mimic), 0.1)


def few_digits(count: int = 160, directory: str = "") -> Splits:
    """The first training digits, and all test digits; `directory` stands for a place that may change."""
    del directory
    splits = digits()
    train = splits.train
    return Splits(Ambush(train.images[:count], train.labels[:count]), splits.test, splits.info)


def config(**changes) -> Config:
    """Four epochs of ten steps; one binary layer, for compiling takes longest."""
    made = Config(
        model=component(
            network, weights=component(siman), activations=component(siman_activations), binary_dense=False
        ),
        data=DataConfig(source=component(few_digits), batch_size=16, eval_batch_size=120, crop_padding=1, flip=False),
        optimizer=OptimizerConfig(
            transform=component(optimizer.sgd),
            schedule=component(schedules.cosine),
            learning_rate=0.1,
            weight_decay=1e-3,
        ),
        losses=[LossConfig("cross_entropy", component(losses.cross_entropy))],
        epochs=4,
        run=RunConfig(log_every=4, telemetry_every=7, tensorboard=False),
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def config_file(folder: Path) -> Path:
    """A file of `config()`."""
    path = folder / "toy_config.py"
    path.write_text(CONFIG_FILE)
    return path


def run(made: Config, workdir: Path, stop: StopRequest | None = None):
    """Trains, or goes on, in this process; the outcome."""
    experiment = assemble(made)
    return Loop(experiment, workdir, Console(experiment.total_steps, quiet=True)).run(stop)


def stored(workdir: Path, made: Config, step: int | None = None):
    """State and books of a checkpoint, the latest by default."""
    return Checkpoints(workdir, read_only=True).restore(assemble(made).abstract_state(), step)


def records(workdir: Path, kind: str = "") -> list[dict]:
    """The log, without what depends on the clock."""
    kept = [record for record in read_log(workdir) if kind in ("", record["kind"])]
    return [{key: value for key, value in record.items() if key != "images_per_s"} for record in kept]


def assert_identical(found, expected):
    """Trees of arrays that agree bit for bit."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        a, b, name = np.asarray(a), np.asarray(b), jax.tree_util.keystr(path)
        assert (a.dtype, a.shape) == (b.dtype, b.shape), name
        assert a.tobytes() == b.tobytes(), name


def assert_same_run(folder: Path, expected: Path, made: Config):
    """Two runs that ended in the same latest and best checkpoint and logged the same."""
    for step in (None, Checkpoints(expected, read_only=True).best_step):
        (state, books), (other, more) = stored(folder, made, step), stored(expected, made, step)
        assert_identical(state, other)
        assert books == more
    assert records(folder) == records(expected)
