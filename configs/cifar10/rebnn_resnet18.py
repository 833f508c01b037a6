"""ReBNN on CIFAR-10 with ResNet-18: the three stages of rebnn_resnet20.py.

python train.py --config configs/cifar10/rebnn_resnet18.py --workdir runs/rebnn_resnet18
"""

from bnn_jax import models
from bnn_jax.binarizers import rebnn
from bnn_jax.config import Config, component
from configs._full_precision import resnet18
from configs._reactnet import react
from configs.cifar10 import rebnn_resnet20


def get_config() -> Config:
    """The experiment."""
    network = react(models.resnet18_cifar, component(rebnn), skip="double")
    return rebnn_resnet20.recipe(network, resnet18())
