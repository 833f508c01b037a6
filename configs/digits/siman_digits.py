"""SiMaN on scikit-learn's handwritten digits: a ResNet-20 with 1-bit weights and activations, no download.

python train.py --config configs/digits/siman_digits.py --workdir runs/digits
"""

from bnn_jax import losses, models
from bnn_jax.binarizers import siman, siman_activations
from bnn_jax.config import Config, DataConfig, LossConfig, OptimizerConfig, RunConfig, component
from bnn_jax.data import digits
from bnn_jax.training import optimizer, schedules


def get_config() -> Config:
    """The experiment."""
    return Config(
        model=component(models.resnet20, weights=component(siman), activations=component(siman_activations)),
        data=DataConfig(source=component(digits), batch_size=64, eval_batch_size=360, crop_padding=1, flip=False),
        optimizer=OptimizerConfig(
            transform=component(optimizer.sgd),
            schedule=component(schedules.cosine, warmup_epochs=2),
            learning_rate=0.1,
            weight_decay=5e-4,
        ),
        losses=[LossConfig("cross_entropy", component(losses.cross_entropy))],
        epochs=40,
        seed=0,
        run=RunConfig(log_every=22, telemetry_every=22),
    )
