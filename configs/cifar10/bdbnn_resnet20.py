"""BD-BNN on CIFAR-10 with ResNet-20: weights shaped by kurtosis, then binarized, mimicking those.

Two stages, one command: first a network with binary activations and real weights, whose kurtosis is drawn to targets
below that of a uniform distribution; then, from its weights, the binary network, which has the first as its teacher:
of the distributions of its weights, and of its logits.

    python train.py --config configs/cifar10/bdbnn_resnet20.py --workdir runs/bdbnn_resnet20
    python eval.py --workdir runs/bdbnn_resnet20 --report weights

The release holds neither networks nor epochs, and no figure of the paper could be had: network and length are those of
irnet_resnet20.py. Its targets are for ResNet-18; smaller networks take the first so many.
"""

from bnn_jax.config import Config
from configs._bimodal import bimodal
from configs.cifar10 import irnet_resnet20


def get_config() -> Config:
    """The experiment."""
    return bimodal(irnet_resnet20.get_config())
