"""SiMaN on CIFAR-10 with ResNet-18, the released recipe: 400 epochs, reported test accuracy 92.5 % (best epoch).

python train.py --config configs/cifar10/siman_resnet18.py --workdir runs/siman_resnet18

Weight decay spares all binarized weights. The released name rule misses those of the three 1x1 shortcuts and
decays them: --config.optimizer.force_decay shortcut/conv does the same.
"""

from bnn_jax import losses, models
from bnn_jax.binarizers import siman, siman_activations
from bnn_jax.config import Config, DataConfig, LossConfig, OptimizerConfig, RunConfig, component
from bnn_jax.data import cifar10
from bnn_jax.training import optimizer, schedules


def get_config() -> Config:
    """The experiment."""
    return Config(
        model=component(models.resnet18_cifar, weights=component(siman), activations=component(siman_activations)),
        data=DataConfig(source=component(cifar10), batch_size=256, eval_batch_size=500, crop_padding=4, flip=True),
        optimizer=OptimizerConfig(
            transform=component(optimizer.sgd),
            schedule=component(schedules.cosine, warmup_epochs=5),
            learning_rate=0.1,
            weight_decay=5e-4,
        ),
        losses=[LossConfig("cross_entropy", component(losses.cross_entropy))],
        epochs=400,
        seed=123,
        run=RunConfig(log_every=50, telemetry_every=195),
    )
