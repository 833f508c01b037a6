"""LCR-BNN on ImageNet with ResNet-18 (reported 59.6 %): irnet_resnet18.py and a full-precision teacher.

    python train.py --config configs/imagenet/lcr_resnet18.py --workdir runs/lcr_imagenet18

The release takes torchvision's pretrained network as its teacher. Convert its file, and name it:

    python -m bnn_jax.convert.torchvision resnet18-f37072fd.pth resnet18.npz
    python train.py --config configs/imagenet/lcr_resnet18.py --workdir W --config.teacher.source resnet18.npz

Without, a teacher is trained first, for 90 epochs, by the same command.
"""

from bnn_jax import models
from bnn_jax.config import Config, component
from configs._retention import retain
from configs.imagenet import irnet_resnet18

STAGES = ("stage1", "stage2", "stage3", "stage4")


def get_config() -> Config:
    """The experiment."""
    return with_teacher(irnet_resnet18.get_config())


def with_teacher(config: Config) -> Config:
    """A config with the term, and as teacher the full-precision network of the same depth, torchvision's."""
    teacher = component(
        models.resnet_imagenet, depth=config.model.depth, activation="relu", skip="single", head_norm=False
    )
    return retain(config, teacher, STAGES, epochs=90)
