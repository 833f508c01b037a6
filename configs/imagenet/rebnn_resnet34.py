"""ReBNN on ImageNet with ReActNet's ResNet-34: the three stages of rebnn_resnet18.py.

    python train.py --config configs/imagenet/rebnn_resnet34.py --workdir runs/rebnn_imagenet34

See rebnn_resnet18.py for how to give a teacher.
"""

from bnn_jax.config import Config
from configs.imagenet import rebnn_resnet18


def get_config() -> Config:
    """The experiment."""
    return rebnn_resnet18.recipe(depth=34)
