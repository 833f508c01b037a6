"""IR-Net on ImageNet with ResNet-34: irnet_resnet18.py and a deeper network (IR-Net reports 62.9 %).

python train.py --config configs/imagenet/irnet_resnet34.py --workdir runs/irnet_imagenet34
"""

from bnn_jax.config import Config
from configs.imagenet import irnet_resnet18


def get_config() -> Config:
    """The experiment."""
    config = irnet_resnet18.get_config()
    config.model.depth = 34
    return config
