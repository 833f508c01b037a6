"""ReActNet on CIFAR-10 with ResNet-20: the three stages of rebnn_resnet20.py, with mean|w| as the scale of the weights.

python train.py --config configs/cifar10/reactnet_resnet20.py --workdir runs/reactnet_resnet20
"""

from bnn_jax.binarizers import reactnet
from bnn_jax.config import Config, component
from configs.cifar10 import rebnn_resnet20


def get_config() -> Config:
    """The experiment."""
    config = rebnn_resnet20.get_config()
    config.model.weights = component(reactnet)
    return config
