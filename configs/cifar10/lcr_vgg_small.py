"""LCR-BNN on CIFAR-10 with VGG-small: irnet_vgg_small.py and a full-precision teacher.

    python train.py --config configs/cifar10/lcr_vgg_small.py --workdir runs/lcr_vgg_small

See lcr_resnet20.py for how to give a teacher, and for the coefficient.
"""

from bnn_jax import models
from bnn_jax.config import Config, component
from configs._retention import retain
from configs.cifar10 import irnet_vgg_small


def get_config() -> Config:
    """The experiment."""
    teacher = component(models.vgg_small, activation="relu")
    return retain(irnet_vgg_small.get_config(), teacher, ("stage1", "stage2", "stage3"))
