"""BD-BNN on CIFAR-10 with ResNet-18, for which the released targets of the kurtosis are.

    python train.py --config configs/cifar10/bdbnn_resnet18.py --workdir runs/bdbnn_resnet18

See bdbnn_resnet20.py for the stages, and for what is not known of this recipe.
"""

from bnn_jax.config import Config
from configs._bimodal import bimodal
from configs.cifar10 import irnet_resnet18


def get_config() -> Config:
    """The experiment."""
    return bimodal(irnet_resnet18.get_config())
