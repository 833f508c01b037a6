"""IR-Net on ImageNet with ResNet-18, double skips, as LCR-BNN's release trains it: 100 epochs.

    python train.py --config configs/imagenet/irnet_resnet18.py --workdir runs/irnet_imagenet18

IR-Net itself reports 58.1 % with a recipe of its own: base rate 0.2 warmed up to 0.8, and colour jitter. There is no
figure for this one yet, ours or another's.
"""

from bnn_jax import losses, models
from bnn_jax.binarizers import irnet, irnet_activations
from bnn_jax.config import Config, DataConfig, LossConfig, OptimizerConfig, RunConfig, component
from bnn_jax.data import imagenet
from bnn_jax.training import optimizer, schedules


def get_config() -> Config:
    """The experiment."""
    return Config(
        model=component(
            models.resnet_imagenet,
            depth=18,
            weights=component(irnet, t_min=1e-3),
            activations=component(irnet_activations, t_min=1e-3),
            activation="hardtanh",
            stem_activation="hardtanh",
        ),
        data=DataConfig(
            source=component(imagenet, scale=(0.08, 1.25)),
            batch_size=128,
            eval_batch_size=256,
            crop_padding=0,  # the source draws parts of images
            flip=True,
        ),
        optimizer=OptimizerConfig(
            transform=component(optimizer.sgd),
            schedule=component(schedules.cosine),
            learning_rate=0.1,
            weight_decay=1e-4,
            decay_binarized=True,
        ),
        losses=[LossConfig("cross_entropy", component(losses.cross_entropy))],
        epochs=100,
        run=RunConfig(log_every=100, telemetry_every=10_009, read_threads=16),
    )
