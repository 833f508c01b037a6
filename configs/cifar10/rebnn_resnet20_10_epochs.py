"""ReBNN on CIFAR-10 with ResNet-20 in 10 epochs for each of its three stages: about two hours on two cores.

Measured figures are in RESULTS.md.

python train.py --config configs/cifar10/rebnn_resnet20_10_epochs.py --workdir runs/rebnn_resnet20_10
"""

from bnn_jax.config import Config
from configs.cifar10 import rebnn_resnet20


def get_config() -> Config:
    """The experiment."""
    config = rebnn_resnet20.get_config()
    for one in (config, *(stage.config for stage in config.stages)):
        one.epochs = 10
        one.run.telemetry_every = 39  # ten times an epoch
    return config
