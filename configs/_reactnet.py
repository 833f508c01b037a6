"""What the configs of ReActNet's networks share: the network, its recipe on ImageNet, and a full-precision teacher."""

from typing import Any

from bnn_jax import models
from bnn_jax.binarizers import rsign
from bnn_jax.config import Config, DataConfig, OptimizerConfig, RunConfig, component
from bnn_jax.data import imagenet
from bnn_jax.training import optimizer, schedules
from configs.imagenet import irnet_resnet18

# The release decays kernels of convolutions and shifts; not norms, slopes and the classifier.
NO_DECAY = r"norm\d?/|slope$|^classifier/"


def react(network: Any, weights: Any, **options: Any) -> Any:
    """A network (one of `bnn_jax.models`) with ReActNet's activations, non-linearity, shortcuts and stem."""
    return component(
        network,
        weights=weights,
        activations=component(rsign),
        activation="rprelu",
        shortcut="pool_conv",
        stem_activation="none",
        head_norm=False,
        **options,
    )


def on_imagenet(weights: Any, depth: int, learning_rate: float, epochs: int) -> Config:
    """ReActNet's network with binary weights on ImageNet, without losses: Adam, rates that fall by epoch, batch 512."""
    return Config(
        model=react(models.resnet_imagenet, weights, depth=depth),
        data=DataConfig(
            source=component(imagenet),
            batch_size=512,
            eval_batch_size=256,
            crop_padding=0,  # the source draws parts of images
            flip=True,
        ),
        optimizer=OptimizerConfig(
            transform=component(optimizer.adam), schedule=component(schedules.linear), learning_rate=learning_rate
        ),
        losses=[],
        epochs=epochs,
        run=RunConfig(log_every=100, telemetry_every=834, read_threads=16),  # three times an epoch
    )


def resnet34_teacher() -> Config:
    """Torchvision's full-precision ResNet-34, by the recipe of irnet_resnet18.py in 90 epochs."""
    config = irnet_resnet18.get_config()
    config.model = component(models.resnet_imagenet, depth=34, activation="relu", skip="single", head_norm=False)
    config.epochs = 90
    return config
