"""ReBNN on CIFAR-10 with ResNet-18: the three stages of rebnn_resnet20.py.

python train.py --config configs/cifar10/rebnn_resnet18.py --workdir runs/rebnn_resnet18
"""

from bnn_jax import models
from bnn_jax.binarizers import rebnn, rsign
from bnn_jax.config import Config, component
from configs.cifar10 import rebnn_resnet20


def get_config() -> Config:
    """The experiment."""
    network = component(
        models.resnet18_cifar,
        weights=component(rebnn),
        activations=component(rsign),
        activation="rprelu",
        skip="double",
        shortcut="pool_conv",
        head_norm=False,
    )
    teacher = component(
        models.resnet18_cifar,
        activation="relu",
        stem_activation="relu",
        shortcut="conv",
        head_norm=False,
        conv_init="he_normal",
    )
    return rebnn_resnet20.recipe(network, teacher)
