"""Eager PyTorch twin of the SiMaN CIFAR networks, used only as a speed yardstick.

It is written from the equations of the method in plain, idiomatic PyTorch:
no custom kernels, no ``torch.compile``, and the operations that a PyTorch user
would reach for (``nn.Conv2d`` style functional convolutions, ``nn.BatchNorm2d``,
``torch.median`` for the half code, ``np.percentile`` for the per-layer clip, on
the host, in every forward, as the released implementation does).

    model, train_step = build("resnet20")
    loss = train_step(images_nchw, labels)      # float32 (N,3,32,32), int64 (N,)

A step is: projection (centre and clip) of every binarised kernel, forward,
cross-entropy, backward, SGD with momentum 0.9, weight decay 5e-4 on everything
but the binarised layers.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

EPS = 1e-5


class SignBiReal(torch.autograd.Function):
    """sign(a) with the piecewise-polynomial surrogate max(0, 2 - 2|a|)."""

    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        return a.sign()

    @staticmethod
    def backward(ctx, grad):
        (a,) = ctx.saved_tensors
        return grad * (2 - 2 * a.abs()).clamp_(min=0)


class BinaryConv2d(nn.Module):
    """Convolution whose code is 1 on the larger-magnitude half of a filter.

    ``percentile="numpy"`` follows the released implementation (host side
    ``np.percentile``); ``"kthvalue"`` is the quicker in-framework variant.
    """

    def __init__(self, cin, cout, size, stride=1, padding=0, percentile="numpy"):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(cout, cin, size, size))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        self.alpha = nn.Parameter(self.weight.detach().abs().mean(dim=(1, 2, 3)).view(cout, 1, 1))
        self.register_buffer("code", (self.weight.detach() > 0).float())
        self.stride, self.padding = stride, padding
        self.percentile = percentile
        self.q = 15.0  # percent; the schedule sets this

    def clip_bounds(self, magnitude):
        """The q-th and (100-q)-th percentile over a layer's magnitudes."""
        if self.percentile == "numpy":
            flat = magnitude.cpu().numpy()
            return (float(np.percentile(flat, self.q)), float(np.percentile(flat, 100 - self.q)))
        flat = magnitude.flatten()
        bounds = []
        for q in (self.q, 100 - self.q):
            rank = q / 100 * (flat.numel() - 1)
            low = int(rank)
            a = flat.kthvalue(low + 1).values
            b = flat.kthvalue(min(low + 2, flat.numel())).values
            bounds.append(float(a + (b - a) * (rank - low)))
        return tuple(bounds)

    @torch.no_grad()
    def project(self):
        """Centre each filter and clip the layer's magnitudes, in place."""
        w = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        low, high = self.clip_bounds(w.abs())
        self.weight.copy_(w.sign() * w.abs().clamp(low, high))

    def forward(self, a):
        self.project()
        w = self.weight
        w = w - w.mean(dim=(1, 2, 3), keepdim=True)
        w = w / torch.sqrt(w.var(dim=(1, 2, 3), keepdim=True) + EPS)
        magnitude = w.abs()
        if self.training:
            flat = magnitude.detach().flatten(1)
            self.code = (flat > flat.median(dim=1, keepdim=True).values).float().view_as(magnitude)
        binary = magnitude - magnitude.detach() + (2 * self.code - 1)
        a = a - a.mean(dim=(1, 2, 3), keepdim=True)
        a = a / torch.sqrt(a.var(dim=(1, 2, 3), keepdim=True) + EPS)
        a = SignBiReal.apply(a)
        return F.conv2d(a, binary, None, self.stride, self.padding) * self.alpha


class DoubleSkipBlock(nn.Module):
    """Two binary 3x3 convolutions, each with its own shortcut, and PReLU."""

    def __init__(self, cin, cout, stride, percentile):
        super().__init__()
        self.conv1 = BinaryConv2d(cin, cout, 3, stride, 1, percentile)
        self.conv2 = BinaryConv2d(cout, cout, 3, 1, 1, percentile)
        self.bn1, self.bn2 = nn.BatchNorm2d(cout), nn.BatchNorm2d(cout)
        self.act1, self.act2 = nn.PReLU(cout), nn.PReLU(cout)
        self.stride, self.pad = stride, (cout - cin) // 2

    def forward(self, x):
        skip = x
        if self.stride != 1 or self.pad:
            skip = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        y = self.act1(self.bn1(self.conv1(x)) + skip)
        return self.act2(self.bn2(self.conv2(y)) + y)


class SingleSkipBlock(nn.Module):
    """Two binary 3x3 convolutions with one shortcut, and hardtanh."""

    def __init__(self, cin, cout, stride, percentile):
        super().__init__()
        self.conv1 = BinaryConv2d(cin, cout, 3, stride, 1, percentile)
        self.conv2 = BinaryConv2d(cout, cout, 3, 1, 1, percentile)
        self.bn1, self.bn2 = nn.BatchNorm2d(cout), nn.BatchNorm2d(cout)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and cin == cout
            else nn.Sequential(BinaryConv2d(cin, cout, 1, stride, 0, percentile), nn.BatchNorm2d(cout))
        )

    def forward(self, x):
        y = F.hardtanh(self.bn1(self.conv1(x)))
        return F.hardtanh(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet20(nn.Module):
    def __init__(self, percentile="numpy", classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.stem_bn = nn.BatchNorm2d(16)
        blocks, cin = [], 16
        for width, stride in ((16, 1), (32, 2), (64, 2)):
            for i in range(3):
                blocks.append(DoubleSkipBlock(cin, width, stride if i == 0 else 1, percentile))
                cin = width
        self.blocks = nn.Sequential(*blocks)
        self.bn, self.fc = nn.BatchNorm1d(64), nn.Linear(64, classes)
        for m in self.modules():
            if isinstance(m, (nn.Conv2d, nn.Linear, BinaryConv2d)):
                nn.init.kaiming_normal_(m.weight)

    def forward(self, x):
        x = F.relu(self.stem_bn(self.stem(x)))
        x = self.blocks(x).mean(dim=(2, 3))
        return self.fc(self.bn(x))


class ResNet18(nn.Module):
    def __init__(self, percentile="numpy", classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.stem_bn = nn.BatchNorm2d(64)
        blocks, cin = [], 64
        for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            for i in range(2):
                blocks.append(SingleSkipBlock(cin, width, stride if i == 0 else 1, percentile))
                cin = width
        self.blocks = nn.Sequential(*blocks)
        self.bn, self.fc = nn.BatchNorm1d(512), nn.Linear(512, classes)

    def forward(self, x):
        x = self.stem_bn(self.stem(x))
        x = F.avg_pool2d(self.blocks(x), 4).flatten(1)
        return self.fc(self.bn(x))


class VGGSmall(nn.Module):
    def __init__(self, percentile="numpy", classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 128, 3, 1, 1, bias=False), nn.BatchNorm2d(128), nn.PReLU(128))
        layers, cin = [], 128
        for width, pool in ((128, 1), (256, 0), (256, 1), (512, 0), (512, 1)):
            layers.append(BinaryConv2d(cin, width, 3, 1, 1, percentile))
            if pool:
                layers.append(nn.MaxPool2d(2))
            layers += [nn.BatchNorm2d(width), nn.PReLU(width)]
            cin = width
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(512 * 16, classes)

    def forward(self, x):
        return self.fc(self.layers(self.stem(x)).flatten(1))


NETS = {"resnet20": ResNet20, "resnet18": ResNet18, "vgg_small": VGGSmall}


def set_percentile(model, q):
    """Sets what all layers clip their magnitudes at, in percent."""
    for module in model.modules():
        if isinstance(module, BinaryConv2d):
            module.q = q


def optimiser_of(model, lr=0.1, weight_decay=5e-4):
    """SGD with momentum, without decay of what is binarised and its scales."""
    binary = {id(p) for m in model.modules() if isinstance(m, BinaryConv2d) for p in m.parameters()}
    params = list(model.parameters())
    return torch.optim.SGD(
        [
            {"params": [p for p in params if id(p) not in binary], "weight_decay": weight_decay},
            {"params": [p for p in params if id(p) in binary], "weight_decay": 0.0},
        ],
        lr=lr,
        momentum=0.9,
    )


def build(name, percentile="numpy", lr=0.1, weight_decay=5e-4, seed=0, device="cpu"):
    """Return ``(model, train_step)``; ``train_step(images, labels)`` -> loss.

    ``images`` is NCHW, float32 (already normalised) or uint8 (scaled here).
    """
    torch.manual_seed(seed)
    model = NETS[name](percentile).train().to(device)
    optimiser = optimiser_of(model, lr, weight_decay)

    def train_step(images, labels):
        if images.dtype == torch.uint8:
            images = images.float().div_(255)
        return step(model, optimiser, images, labels)

    return model, train_step


def step(model, optimiser, images, labels):
    """One step of training; returns the loss."""
    optimiser.zero_grad(set_to_none=True)
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimiser.step()
    return loss.detach()
