"""torchvision's ResNet-18 and 34 in evaluation, channels first as its arrays are, in float64 NumPy."""

import numpy as np

from tests.reference import layers
from tests.reference.layouts import hwio, nhwc

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
WIDTHS = (64, 128, 256, 512)


def shapes(depth, classes):
    """Shapes by name, in the order of torchvision's own state_dict; counts of batches are ()."""

    def norm(name, width):
        moving = dict.fromkeys((f"{name}.weight", f"{name}.bias", f"{name}.running_mean", f"{name}.running_var"))
        return dict.fromkeys(moving, (width,)) | {f"{name}.num_batches_tracked": ()}

    found = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    before = 64
    for i, (blocks, width) in enumerate(zip(BLOCKS[depth], WIDTHS, strict=True), 1):
        for j in range(blocks):
            at = f"layer{i}.{j}"
            found |= {f"{at}.conv1.weight": (width, before, 3, 3), **norm(f"{at}.bn1", width)}
            found |= {f"{at}.conv2.weight": (width, width, 3, 3), **norm(f"{at}.bn2", width)}
            if before != width:
                found |= {f"{at}.downsample.0.weight": (width, before, 1, 1), **norm(f"{at}.downsample.1", width)}
            before = width
    return found | {"fc.weight": (classes, 512), "fc.bias": (classes,)}


def state_dict(depth, classes=5, seed=0):
    """A random state_dict, float32, with statistics and affine maps far from their initial values."""
    rng = np.random.default_rng(seed)

    def draw(name, shape):
        if name.endswith("num_batches_tracked"):
            return np.asarray(7, np.int64)
        if len(shape) > 1:
            return rng.normal(0, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32)
        if name.endswith(("running_var", ".weight")):
            return rng.uniform(0.5, 1.5, shape).astype(np.float32)
        return rng.normal(0, 0.5, shape).astype(np.float32)

    return {name: draw(name, shape) for name, shape in shapes(depth, classes).items()}


def forward(state, x):
    """Logits of images (batch, 3, height, width), and what stem and stages make of them, channels last."""
    x = np.maximum(_norm(state, "bn1", _conv(state, "conv1", x, 2)), 0)
    x = _max_pool(x)
    features = {"stem": nhwc(x)}
    for i in range(1, 5):
        for j in range(len({name.split(".")[1] for name in state if name.startswith(f"layer{i}.")})):
            x = _block(state, f"layer{i}.{j}", x, 2 if i > 1 and j == 0 else 1)
        features[f"stage{i}"] = nhwc(x)
    features["pooled"] = x.mean((2, 3))
    return features["pooled"] @ np.float64(state["fc.weight"]).T + state["fc.bias"], features


def _block(state, at, x, stride):
    """relu(bn2(conv2(relu(bn1(conv1(x))))) + downsample(x))."""
    y = np.maximum(_norm(state, f"{at}.bn1", _conv(state, f"{at}.conv1", x, stride)), 0)
    y = _norm(state, f"{at}.bn2", _conv(state, f"{at}.conv2", y, 1))
    if f"{at}.downsample.0.weight" in state:
        x = _norm(state, f"{at}.downsample.1", _conv(state, f"{at}.downsample.0", x, stride))
    return np.maximum(y + x, 0)


def _conv(state, at, x, stride):
    kernel = state[f"{at}.weight"]
    padding = {7: 3, 3: 1, 1: 0}[kernel.shape[-1]]
    y = layers.conv(nhwc(x), hwio(kernel), (stride, stride), (padding, padding))
    return np.transpose(y, (0, 3, 1, 2))


def _norm(state, at, x):
    weight, bias, mean, var = (
        np.float64(state[f"{at}.{name}"])[:, None, None] for name in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(var + 1e-5) * weight + bias


def _max_pool(x):
    """The largest of 3x3, stride 2, padded by 1 with what is never the largest."""
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))
    return windows[:, :, ::2, ::2].max((-2, -1))
