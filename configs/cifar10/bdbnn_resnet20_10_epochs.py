"""BD-BNN on CIFAR-10 with ResNet-20 in 10 epochs for each stage, for two cores.

python train.py --config configs/cifar10/bdbnn_resnet20_10_epochs.py --workdir runs/bdbnn_resnet20_10
"""

from bnn_jax.config import Config
from configs.cifar10 import bdbnn_resnet20


def get_config() -> Config:
    """The experiment."""
    config = bdbnn_resnet20.get_config()
    config.epochs = 10
    config.stages[0].config.epochs = 10
    return config
