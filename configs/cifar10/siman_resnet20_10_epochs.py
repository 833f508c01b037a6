"""SiMaN on CIFAR-10 with ResNet-20 in 10 epochs: a schedule for two cores, 20 to 30 minutes.

Batch 128 and no warm-up, otherwise the recipe of siman_resnet20.py with every schedule scaled to 10 epochs.
Measured figures and curves are in RESULTS.md.

    python train.py --config configs/cifar10/siman_resnet20_10_epochs.py --workdir runs/siman_resnet20_10
"""

from bnn_jax.config import Config, component
from bnn_jax.training import schedules
from configs.cifar10 import siman_resnet20


def get_config() -> Config:
    """The experiment."""
    config = siman_resnet20.get_config()
    config.data.batch_size = 128
    config.optimizer.schedule = component(schedules.cosine)
    config.epochs = 10
    config.seed = 0
    config.run.telemetry_every = 130
    return config
