"""LCR-BNN on CIFAR-10 with ResNet-20: IR-Net's recipe, and the Lipschitz constant of a full-precision teacher retained.

Two stages, one command: the teacher is trained first, unless one is given (a run of the same network, or a file):

    python train.py --config configs/cifar10/lcr_resnet20.py --workdir runs/lcr_resnet20
    python train.py --config configs/cifar10/lcr_resnet20.py --config.teacher.source runs/float20 --workdir runs/lcr

The release covers ImageNet only; its coefficient is alpha / batch / 10,000 with alpha = 8. --config.losses[1].weight
changes it. With 0 the network learns as by irnet_resnet20.py, beside a teacher that is of no use to it.
"""

from copy import deepcopy
from dataclasses import replace
from typing import Any

from bnn_jax import models
from bnn_jax.config import Config, LossConfig, StageConfig, TeacherConfig, component
from bnn_jax.regularizers import lipschitz_term, released_weight
from configs.cifar10 import irnet_resnet20


def get_config() -> Config:
    """The experiment."""
    teacher = component(models.resnet20, activation="relu", skip="single", head_norm=False)
    return retain(irnet_resnet20.get_config(), teacher, ("stage1", "stage2", "stage3"))


def retain(config: Config, teacher: Any, features: tuple[str, ...], epochs: int = 200) -> Config:
    """A config with the term between these features, and the network `teacher` trained first, for so many epochs."""
    stage = replace(deepcopy(config), model=teacher, epochs=epochs)
    stage.data.source = config.data.source  # the same object: one place to say where the data lies
    retention = component(lipschitz_term, features=features)
    config.losses.append(LossConfig("lipschitz", retention, released_weight(alpha=8, batch_size=128)))
    config.teacher = TeacherConfig("teacher", model=teacher)
    config.stages = [StageConfig("teacher", stage)]
    return config
