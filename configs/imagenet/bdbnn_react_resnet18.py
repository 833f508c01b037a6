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

from bnn_jax import losses, models
from bnn_jax.binarizers import reactnet, rsign
from bnn_jax.config import (
    Config,
    DataConfig,
    LossConfig,
    OptimizerConfig,
    RunConfig,
    StageConfig,
    TeacherConfig,
    component,
)
from bnn_jax.data import imagenet
from bnn_jax.regularizers import distillation_term, kurtosis_term
from bnn_jax.training import optimizer, schedules
from configs.imagenet import irnet_resnet18

# The release decays kernels of convolutions and shifts; not norms, slopes and the classifier.
NO_DECAY = r"norm\d?/|slope$|^classifier/"


def get_config() -> Config:
    """The experiment."""
    config = Config(
        model=component(
            models.resnet_imagenet,
            depth=18,
            weights=component(reactnet),
            activations=component(rsign),
            activation="rprelu",
            shortcut="pool_conv",
            stem_activation="none",
            head_norm=False,
        ),
        data=DataConfig(
            source=component(imagenet),
            batch_size=512,
            eval_batch_size=256,
            crop_padding=0,  # the source draws parts of images
            flip=True,
        ),
        optimizer=OptimizerConfig(
            transform=component(optimizer.adam),
            schedule=component(schedules.linear),
            learning_rate=2.5e-3,
            weight_decay=0.0,
            no_decay=NO_DECAY,
        ),
        losses=[],
        epochs=128,
        run=RunConfig(log_every=100, telemetry_every=2_502, read_threads=16),
    )
    first = deepcopy(config)
    first.model.weights = None
    first.optimizer.weight_decay = 1e-5
    first.losses = [
        LossConfig("cross_entropy", component(losses.cross_entropy)),
        LossConfig("kurtosis", component(kurtosis_term, targets="imagenet")),
    ]
    teacher = irnet_resnet18.get_config()
    teacher.model = component(models.resnet_imagenet, depth=34, activation="relu", skip="single", head_norm=False)
    teacher.epochs = 90
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
