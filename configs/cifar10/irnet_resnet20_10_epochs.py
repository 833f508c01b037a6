"""IR-Net on CIFAR-10 with ResNet-20 in 10 epochs: irnet_resnet20.py with every schedule scaled, for two cores.

The gradient's estimator sharpens to its end in these 10 epochs too, which so short a schedule does not forgive.

    python train.py --config configs/cifar10/irnet_resnet20_10_epochs.py --workdir runs/irnet_resnet20_10
"""

from bnn_jax.config import Config
from configs.cifar10 import irnet_resnet20


def get_config() -> Config:
    """The experiment."""
    config = irnet_resnet20.get_config()
    config.epochs = 10
    return config
