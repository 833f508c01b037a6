"""IR-Net on CIFAR-10 with ResNet-18: single skips, full-precision shortcuts; reported test accuracy 91.5 %.

The release holds the network but no training script for it: this is the recipe of irnet_resnet20.py.

    python train.py --config configs/cifar10/irnet_resnet18.py --workdir runs/irnet_resnet18
"""

from bnn_jax import models
from bnn_jax.binarizers import irnet, irnet_activations
from bnn_jax.config import Config, component
from configs.cifar10 import irnet_resnet20


def get_config() -> Config:
    """The experiment."""
    config = irnet_resnet20.get_config()
    config.model = component(
        models.resnet18_cifar,
        weights=component(irnet, t_min=1e-3),
        activations=component(irnet_activations, t_min=1e-3),
        activation="hardtanh",
        stem_activation="none",
        shortcut="conv",
        conv_init="he_normal",
    )
    return config
