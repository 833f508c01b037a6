"""BD-BNN on ImageNet with ReActNet's ResNet-18: real weights shaped by kurtosis, then binary ones.

    python train.py --config configs/imagenet/bdbnn_react_resnet18.py --workdir runs/bdbnn_react_imagenet18

Three stages, one command: a full-precision teacher, the network with binary activations and real weights, and the
binary network, which starts from the second and learns from the first one's logits. The release takes torchvision's
pretrained network as its teacher; convert its file, and name it:

    python -m bnn_jax.convert.torchvision resnet34-b627a593.pth resnet34.npz
    python train.py --config configs/imagenet/bdbnn_react_resnet18.py --workdir W --config.teacher.source resnet34.npz

Coefficients are the release's for this network, which mimics no weights; rate, batch, length and the teacher's depth,
which it leaves open, are ReActNet's. No figure of the paper could be had, and there is none of ours yet.
"""

from copy import deepcopy

from bnn_jax import losses
from bnn_jax.binarizers import reactnet
from bnn_jax.config import Config, LossConfig, StageConfig, TeacherConfig, component
from bnn_jax.regularizers import distillation_term, kurtosis_term
from configs._reactnet import NO_DECAY, on_imagenet, resnet34_teacher


def get_config() -> Config:
    """The experiment."""
    config, teacher = on_imagenet(component(reactnet), 18, learning_rate=2.5e-3, epochs=128), resnet34_teacher()
    first = deepcopy(config)
    first.model.weights = None
    first.optimizer.weight_decay, first.optimizer.no_decay = 1e-5, NO_DECAY
    first.losses = [
        LossConfig("cross_entropy", component(losses.cross_entropy)),
        LossConfig("kurtosis", component(kurtosis_term, targets="imagenet")),
    ]
    for stage in (first, teacher):
        stage.data.source = config.data.source  # the same object: one place to say where the data lies
    config.losses = [
        LossConfig("distillation", component(distillation_term), 0.9),
        LossConfig("kurtosis", component(kurtosis_term, targets="teacher_student")),
    ]
    config.init_from = "real_weights"
    config.teacher = TeacherConfig("teacher", model=teacher.model)
    config.stages = [StageConfig("teacher", teacher), StageConfig("real_weights", first)]
    return config
