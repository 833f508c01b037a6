"""What LCR-BNN's configs share: the term between features, and the teacher trained before."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

from bnn_jax.config import Config, LossConfig, StageConfig, TeacherConfig, component
from bnn_jax.regularizers import lipschitz_term, released_weight


def retain(config: Config, teacher: Any, features: tuple[str, ...], epochs: int = 200) -> Config:
    """A config with the term between these features, and the network `teacher` trained first, for so many epochs."""
    stage = replace(deepcopy(config), model=teacher, epochs=epochs)
    stage.data.source = config.data.source  # the same object: one place to say where the data lies
    retention = component(lipschitz_term, features=features)
    config.losses.append(LossConfig("lipschitz", retention, released_weight(alpha=8, batch_size=128)))
    config.teacher = TeacherConfig("teacher", model=teacher)
    config.stages = [StageConfig("teacher", stage)]
    return config
