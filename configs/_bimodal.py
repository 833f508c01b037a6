"""What BD-BNN's configs share: kurtosis in both stages, and a student that starts from and mimics the first."""

from copy import deepcopy

from bnn_jax.binarizers import irnet, irnet_activations
from bnn_jax.config import Config, LossConfig, StageConfig, TeacherConfig, component
from bnn_jax.regularizers import distillation_term, kurtosis_term, mimicking_term

STAGE = "real_weights"


def bimodal(config: Config) -> Config:
    """A recipe of two stages from one of IR-Net's: real weights shaped by kurtosis, then a binary student.

    Batch, coefficients and the estimator's t_min are the released defaults; the cross-entropy's coefficient, which
    the release does not define, is 1.
    """
    config.data.batch_size = 256
    config.model.weights = component(irnet, t_min=1e-2)
    config.model.activations = component(irnet_activations, t_min=1e-2)
    config.run.telemetry_every = 195
    stage = deepcopy(config)
    stage.model.weights = None
    stage.data.source = config.data.source  # the same object: one place to say where the data lies
    stage.losses.append(LossConfig("kurtosis", component(kurtosis_term, targets="cifar")))
    config.losses += [
        LossConfig("kurtosis", component(kurtosis_term, targets="teacher_student")),
        LossConfig("mimicking", component(mimicking_term), 200.0),
        LossConfig("distillation", component(distillation_term), 0.9),
    ]
    config.init_from = STAGE
    config.teacher = TeacherConfig(STAGE, model=stage.model)
    config.stages = [StageConfig(STAGE, stage)]
    return config
