"""ReBNN on ImageNet with ReActNet's ResNet-18, in two steps (reported 66.9 % top-1, 87.1 % top-5).

    python train.py --config configs/imagenet/rebnn_resnet18.py --workdir runs/rebnn_imagenet18

Three stages, one command: a full-precision ResNet-34 as teacher, the network with binary activations and real weights,
and the binary network, which starts from the second. The release takes torchvision's pretrained network as its
teacher; convert its file, and name it:

    python -m bnn_jax.convert.torchvision resnet34-b627a593.pth resnet34.npz
    python train.py --config configs/imagenet/rebnn_resnet18.py --workdir W --config.teacher.source resnet34.npz

The binarizer is the paper's; --config.model.weights.gamma released is that of the release, whose gamma is always 2e-4.
The release's jitter of colours, which lets a pixel fall by one grey level at most, is left out; what it was meant to
be is --config.data.lighting 0.1 '--config.stages[1].config.data.lighting' 0.1 (both steps).
"""

from bnn_jax.binarizers import rebnn
from bnn_jax.config import Config, component
from configs._reactnet import on_imagenet, resnet34_teacher
from configs._two_steps import two_steps


def get_config() -> Config:
    """The experiment."""
    return recipe(depth=18)


def recipe(depth: int) -> Config:
    """The three stages with a binary network of this depth."""
    config = on_imagenet(component(rebnn), depth, learning_rate=1e-3, epochs=256)
    config = two_steps(config, resnet34_teacher())
    config.stages[1].config.optimizer.schedule.ahead = 1  # as ReActNet's release counts
    return config
