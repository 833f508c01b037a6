"""LCR-BNN on CIFAR-10 with ResNet-20: IR-Net's recipe, and the Lipschitz constant of a full-precision teacher retained.

Two stages, one command: the teacher is trained first, unless one is given (a run of the same network, or a file):

    python train.py --config configs/cifar10/lcr_resnet20.py --workdir runs/lcr_resnet20
    python train.py --config configs/cifar10/lcr_resnet20.py --config.teacher.source runs/float20 --workdir runs/lcr

The release covers ImageNet only; its coefficient is alpha / batch / 10,000 with alpha = 8. --config.losses[1].weight
changes it. With 0 the network learns as by irnet_resnet20.py, beside a teacher that is of no use to it.
"""

from bnn_jax.config import Config
from configs._full_precision import resnet20
from configs._retention import retain
from configs.cifar10 import irnet_resnet20


def get_config() -> Config:
    """The experiment."""
    return retain(irnet_resnet20.get_config(), resnet20(), ("stage1", "stage2", "stage3"))
