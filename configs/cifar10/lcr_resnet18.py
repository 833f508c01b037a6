"""LCR-BNN on CIFAR-10 with ResNet-18 (reported test accuracy 91.8 %): irnet_resnet18.py and a full-precision teacher.

    python train.py --config configs/cifar10/lcr_resnet18.py --workdir runs/lcr_resnet18

See lcr_resnet20.py for how to give a teacher, and for the coefficient.
"""

from bnn_jax.config import Config
from configs._full_precision import resnet18
from configs._retention import retain
from configs.cifar10 import irnet_resnet18


def get_config() -> Config:
    """The experiment."""
    return retain(irnet_resnet18.get_config(), resnet18(), ("stage1", "stage2", "stage3", "stage4"))
