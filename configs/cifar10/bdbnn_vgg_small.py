"""BD-BNN on CIFAR-10 with VGG-small.

    python train.py --config configs/cifar10/bdbnn_vgg_small.py --workdir runs/bdbnn_vgg_small

See bdbnn_resnet20.py for the stages, and for what is not known of this recipe. Rate and length are those of
irnet_vgg_small.py.
"""

from bnn_jax.config import Config
from configs._bimodal import bimodal
from configs.cifar10 import irnet_vgg_small


def get_config() -> Config:
    """The experiment."""
    return bimodal(irnet_vgg_small.get_config())
