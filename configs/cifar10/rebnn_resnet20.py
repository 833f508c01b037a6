"""ReBNN on CIFAR-10 with ResNet-20: ReActNet's two steps, with a learned scale and weights held by reconstruction.

Three stages, one command: a full-precision teacher, the network with binary activations and real weights, and the
binary network, which starts from the second. Both learn from the teacher's logits alone:

    python train.py --config configs/cifar10/rebnn_resnet20.py --workdir runs/rebnn_resnet20
    python eval.py --workdir runs/rebnn_resnet20 --report oscillation

The same with the scale that is not learned, and then the two compared; the stages before are taken from the first run:

    python train.py --config configs/cifar10/reactnet_resnet20.py --workdir runs/reactnet_resnet20 \
        --config.init_from runs/rebnn_resnet20/real_weights --config.teacher.source runs/rebnn_resnet20/teacher
    python eval.py --workdir runs/rebnn_resnet20 --report oscillation --against runs/reactnet_resnet20

The paper and its release have no recipe for CIFAR-10: blocks, loss, optimizer and length are those of ImageNet, the
rest is that of irnet_resnet20.py.
"""

from typing import Any

from bnn_jax import models
from bnn_jax.binarizers import rebnn
from bnn_jax.config import Config, OptimizerConfig, component
from bnn_jax.training import optimizer, schedules
from configs._full_precision import resnet20
from configs._reactnet import react
from configs._two_steps import two_steps
from configs.cifar10 import irnet_resnet20


def get_config() -> Config:
    """The experiment."""
    network = react(models.resnet20, component(rebnn))
    return recipe(network, resnet20())


def recipe(network: Any, teacher: Any) -> Config:
    """The three stages with these networks."""
    config, taught = irnet_resnet20.get_config(), irnet_resnet20.get_config()
    config.model, taught.model = network, teacher
    config.optimizer = OptimizerConfig(
        transform=component(optimizer.adam), schedule=component(schedules.linear), learning_rate=1e-3
    )
    config.epochs, taught.epochs = 256, 200
    config.run.telemetry_every = 130  # three times an epoch
    return two_steps(config, taught)
