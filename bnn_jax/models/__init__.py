"""Networks as Flax modules; every factory takes the binarizers as arguments (None: full precision)."""

from bnn_jax.models.parts import Parts
from bnn_jax.models.residual import ResNet
from bnn_jax.models.resnet import resnet18_cifar, resnet20, resnet_imagenet
from bnn_jax.models.vgg import VGGSmall, vgg_small

__all__ = ["Parts", "ResNet", "VGGSmall", "resnet18_cifar", "resnet20", "resnet_imagenet", "vgg_small"]
