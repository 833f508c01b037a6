"""LCR-BNN on ImageNet with ResNet-34 (63.5 %, by a secondary source): irnet_resnet34.py and a full-precision teacher.

    python train.py --config configs/imagenet/lcr_resnet34.py --workdir runs/lcr_imagenet34

See lcr_resnet18.py for how to give a teacher.
"""

from bnn_jax.config import Config
from configs.imagenet import irnet_resnet34, lcr_resnet18


def get_config() -> Config:
    """The experiment."""
    return lcr_resnet18.with_teacher(irnet_resnet34.get_config())
