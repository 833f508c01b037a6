"""PyTorch twin of IR-Net's ResNet-20 for CIFAR, written from the equations of the method in plain PyTorch.

model = ResNet20()
sharpen(model, t=0.1)            # of the error decay estimator, in all layers; the gain is max(1 / t, 1)
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.torch_twin import step


class Sign(torch.autograd.Function):
    """sign(x) with the error decay estimator, slope k t (1 - tanh(t x)^2)."""

    @staticmethod
    def forward(ctx, x, t, k):
        ctx.save_for_backward(x)
        ctx.t, ctx.k = t, k
        return x.sign()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ctx.k * ctx.t * (1 - torch.tanh(ctx.t * x) ** 2), None, None


class BinaryConv2d(nn.Conv2d):
    """3x3 convolution of signs by balanced, standardized signs times a power of two."""

    t, k = 1.0, 1.0

    def forward(self, x):
        w = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        w = w / w.std(dim=(1, 2, 3), keepdim=True)
        scale = 2 ** w.detach().abs().mean(dim=(1, 2, 3), keepdim=True).log2().round()
        binary = Sign.apply(w, self.t, self.k) * scale
        return F.conv2d(Sign.apply(x, self.t, self.k), binary, None, self.stride, self.padding)


class Block(nn.Module):
    """Two binary convolutions, each with its own skip, and hardtanh."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1 = BinaryConv2d(cin, cout, 3, stride, 1, bias=False)
        self.conv2 = BinaryConv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(cout), nn.BatchNorm2d(cout)
        self.stride, self.pad = stride, (cout - cin) // 2

    def forward(self, x):
        skip = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        y = F.hardtanh(self.bn1(self.conv1(x)) + skip)
        return F.hardtanh(self.bn2(self.conv2(y)) + y)


class ResNet20(nn.Module):
    """Full-precision stem and classifier, nine blocks, batch norm before the classifier."""

    def __init__(self, classes=10):
        super().__init__()
        self.stem, self.stem_bn = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        shapes = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
        self.blocks = nn.Sequential(*(Block(*shape) for shape in shapes))
        self.bn, self.fc = nn.BatchNorm1d(64), nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x):
        x = F.hardtanh(self.stem_bn(self.stem(x)))
        return self.fc(self.bn(self.blocks(x).mean(dim=(2, 3))))


def sharpen(model, t):
    """Sets the estimator of all layers."""
    for module in model.modules():
        if isinstance(module, BinaryConv2d):
            module.t, module.k = t, max(1 / t, 1.0)


def optimiser_of(model, lr=0.1, weight_decay=1e-4):
    """The recipe's SGD."""
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=weight_decay)


def build(seed=0, lr=0.1, weight_decay=1e-4):
    """Return ``(model, train_step)``; ``train_step(images, labels)`` -> loss, as `torch_twin.build` does."""
    torch.manual_seed(seed)
    model = ResNet20().train()
    return model, partial(step, model, optimiser_of(model, lr, weight_decay))
