"""ReBNN on ImageNet with ReActNet's ResNet-18, in two steps (reported 66.9 % top-1, 87.1 % top-5).

    python train.py --config configs/imagenet/rebnn_resnet18.py --workdir runs/rebnn_imagenet18

Three stages, one command: a full-precision ResNet-34 as teacher, the network with binary activations and real weights,
and the binary network, which starts from the second. The release takes torchvision's pretrained network as its
teacher; convert its file, and name it:

    python -m bnn_jax.convert.torchvision resnet34-b627a593.pth resnet34.npz
    python train.py --config configs/imagenet/rebnn_resnet18.py --workdir W --config.teacher.source resnet34.npz

The binarizer is the paper's; --config.model.weights.gamma released is that of the release, whose gamma is always 2e-4.
The release's jitter of colours, which lets a pixel fall by one grey level at most, is left out; --config.data.lighting
0.1 is what it was meant to be.
"""

from typing import Any

from bnn_jax import models
from bnn_jax.binarizers import rebnn, rsign
from bnn_jax.config import Config, DataConfig, OptimizerConfig, RunConfig, component
from bnn_jax.data import imagenet
from bnn_jax.training import optimizer, schedules
from configs._two_steps import two_steps
from configs.imagenet import irnet_resnet18


def get_config() -> Config:
    """The experiment."""
    return recipe(depth=18)


def recipe(depth: int) -> Config:
    """The three stages with a binary network of this depth."""
    teacher = irnet_resnet18.get_config()
    teacher.model = component(models.resnet_imagenet, depth=34, activation="relu", skip="single", head_norm=False)
    teacher.epochs = 90
    network: Any = component(
        models.resnet_imagenet,
        depth=depth,
        weights=component(rebnn),
        activations=component(rsign),
        activation="rprelu",
        shortcut="pool_conv",
        stem_activation="none",
        head_norm=False,
    )
    config = Config(
        model=network,
        data=DataConfig(
            source=component(imagenet),
            batch_size=512,
            eval_batch_size=256,
            crop_padding=0,  # the source draws parts of images
            flip=True,
        ),
        optimizer=OptimizerConfig(
            transform=component(optimizer.adam), schedule=component(schedules.linear), learning_rate=1e-3
        ),
        losses=[],
        epochs=256,
        run=RunConfig(log_every=100, telemetry_every=834, read_threads=16),  # three times an epoch
    )
    config = two_steps(config, teacher)
    config.stages[1].config.optimizer.schedule.ahead = 1  # as ReActNet's release counts
    return config
