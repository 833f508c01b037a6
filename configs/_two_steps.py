"""What ReBNN's configs share: real weights first, binary ones from them, both taught by a full-precision network."""

from copy import deepcopy

from bnn_jax.config import Config, LossConfig, StageConfig, TeacherConfig, component
from bnn_jax.regularizers import distillation_term
from configs._reactnet import NO_DECAY


def two_steps(config: Config, teacher: Config) -> Config:
    """A recipe of ReActNet's two steps, which learn from the logits of a teacher alone, from the config of the second.

    Args:
      config: Of the binary network. The first step is the same with real weights and a little decay.
      teacher: Of the full-precision network, which is trained before unless `teacher.source` says where it is.
    """
    config.losses = [LossConfig("distillation", component(distillation_term))]
    config.teacher = TeacherConfig("teacher", model=teacher.model)
    first = deepcopy(config)
    first.model.weights = None
    first.optimizer.weight_decay, first.optimizer.no_decay = 1e-5, NO_DECAY
    # The same objects: one place to say where the teacher, and where the data lies.
    first.teacher = config.teacher
    first.data.source = teacher.data.source = config.data.source
    config.init_from = "real_weights"
    config.stages = [StageConfig("teacher", teacher), StageConfig("real_weights", first)]
    return config
