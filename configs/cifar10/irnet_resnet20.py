"""IR-Net on CIFAR-10 with ResNet-20, the released recipe: 400 epochs, reported test accuracy 86.5 % (best epoch).

python train.py --config configs/cifar10/irnet_resnet20.py --workdir runs/irnet_resnet20
"""

from bnn_jax import losses, models
from bnn_jax.binarizers import irnet, irnet_activations
from bnn_jax.config import Config, DataConfig, LossConfig, OptimizerConfig, RunConfig, component
from bnn_jax.data import cifar10
from bnn_jax.training import optimizer, schedules


def get_config() -> Config:
    """The experiment."""
    return Config(
        model=component(
            models.resnet20,
            weights=component(irnet, t_min=1e-3),
            activations=component(irnet_activations, t_min=1e-3),
            activation="hardtanh",
            stem_activation="hardtanh",
        ),
        data=DataConfig(source=component(cifar10), batch_size=128, eval_batch_size=500, crop_padding=4, flip=True),
        optimizer=OptimizerConfig(
            transform=component(optimizer.sgd),
            schedule=component(schedules.cosine),
            learning_rate=0.1,
            weight_decay=1e-4,
            decay_binarized=True,
        ),
        losses=[LossConfig("cross_entropy", component(losses.cross_entropy))],
        epochs=400,
        run=RunConfig(log_every=50, telemetry_every=390),
    )
