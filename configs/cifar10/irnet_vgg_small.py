"""IR-Net on CIFAR-10 with VGG-small, the released recipe: 300 epochs, reported test accuracy 90.4 % (best epoch).

python train.py --config configs/cifar10/irnet_vgg_small.py --workdir runs/irnet_vgg_small
"""

from bnn_jax import models
from bnn_jax.binarizers import irnet, irnet_activations
from bnn_jax.config import Config, component
from configs.cifar10 import irnet_resnet20


def get_config() -> Config:
    """The experiment."""
    config = irnet_resnet20.get_config()
    config.model = component(
        models.vgg_small,
        weights=component(irnet, t_min=0.1),
        activations=component(irnet_activations, t_min=0.1),
        activation="hardtanh",
    )
    config.optimizer.learning_rate = 0.007
    config.epochs = 300
    return config
