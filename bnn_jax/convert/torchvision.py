"""torchvision's ResNet-18 and 34 as a file of weights: the teachers that papers take on ImageNet.

    python -m bnn_jax.convert.torchvision resnet18-f37072fd.pth resnet18.npz
    python train.py --config CONFIG --config.teacher.source resnet18.npz --workdir runs/it

The first file is torchvision's checkpoint (a state_dict), which PyTorch reads; or an .npz of the same names and arrays,
for where PyTorch is not installed. The second holds the variables of `resnet(num_classes, depth)`, which is the same
function as torchvision's network in evaluation: `teacher.model` of the config is to be
`component(models.resnet_imagenet, depth=depth, **OPTIONS)`. torchvision trained it on RGB images in [0, 1], less
ImageNet's mean and over its deviation (`bnn_jax.data.normalization.IMAGENET`).
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from bnn_jax.convert import state_dict
from bnn_jax.models import ResNet, resnet_imagenet
from bnn_jax.training import sources
from bnn_jax.training.state import init_variables

# Of `models.resnet_imagenet`, beside its depth.
OPTIONS: dict[str, Any] = {
    "activation": "relu",
    "skip": "single",
    "shortcut": "conv",
    "stem_activation": "relu",
    "head_norm": False,
}
DEPTHS = (18, 34)
# torchvision's axes in the library's order, by their number: OIHW to HWIO, (out, in) to (in, out).
_AXES = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}
_LAYERS = {
    "stem_conv": "conv1",
    "stem_norm": "bn1",
    "classifier": "fc",
    "conv1": "conv1",
    "norm1": "bn1",
    "conv2": "conv2",
    "norm2": "bn2",
    "shortcut/conv": "downsample.0",
    "shortcut/norm": "downsample.1",
}
_ARRAYS = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def resnet(num_classes: int, depth: int = 18) -> ResNet:
    """The network which torchvision calls `resnet18` or `resnet34`."""
    return resnet_imagenet(num_classes, depth=depth, **OPTIONS)


def depth_of(state: Mapping[str, np.ndarray]) -> int:
    """18 or 34, by the blocks that the names of a state_dict tell of.

    Raises:
      ValueError: If they are of neither; says what was found.
    """
    if any(re.match(r"layer\d+\.\d+\.conv3\.", name) for name in state):
        raise ValueError(
            "expected torchvision's ResNet-18 or 34, found blocks of three convolutions (layer1.0.conv3.weight), as "
            "ResNet-50 and deeper ones have: there is no such network here, convert ResNet-18 or 34"
        )
    found = {match.groups() for name in state if (match := re.match(r"layer(\d+)\.(\d+)\.", name))}
    blocks = tuple(sum(layer == str(i) for layer, _ in found) for i in range(1, 5))
    known = {resnet(1, depth).stages: depth for depth in DEPTHS}
    if blocks not in known:
        raise ValueError(
            f"expected torchvision's ResNet-18 or 34 with {' or '.join(map(str, known))} blocks in layer1 to layer4, "
            f"found {blocks}, and the names {', '.join(list(state)[:3]) or '(none)'} ...: save the state_dict of the "
            "network alone, under torchvision's names"
        )
    return known[blocks]


def convert(state: Mapping[str, np.ndarray]) -> sources.Variables:
    """The variables of `resnet` from the state_dict of torchvision's network.

    Args:
      state: Floating arrays under torchvision's names: kernels (out, in, height, width), `fc.weight` (classes, in).
        Counts of batches (`num_batches_tracked`) are ignored.

    Returns:
      `{"params": ..., "batch_stats": ..., "memory": {}}`, float32 arrays on the host.

    Raises:
      ValueError: If an entry is missing, unknown, or of another shape or type; names them.
    """
    depth = depth_of(state)
    classes = len(np.atleast_1d(state.get("fc.weight", state.get("fc.bias", 0))))
    shapes = jax.eval_shape(lambda: init_variables(resnet(classes, depth), jax.random.key(0), (224, 224, 3)))
    want = {_name(path): (path, leaf.shape) for path, leaf in traverse_util.flatten_dict(shapes).items()}
    lines = _mismatches(state, {name: shape for name, (_, shape) in want.items()})
    if lines:
        more = f"\n  and {len(lines) - 8} more" if len(lines) > 8 else ""
        raise ValueError(
            f"this is not the state_dict of torchvision's ResNet-{depth}:\n  " + "\n  ".join(lines[:8]) + more
        )
    taken = {
        path: np.array(np.transpose(state[name], _AXES[len(shape)]), np.float32, order="C")
        for name, (path, shape) in want.items()
    }
    return {name: {} for name in sources.COLLECTIONS} | traverse_util.unflatten_dict(taken)


def _mismatches(state: Mapping[str, np.ndarray], want: Mapping[str, tuple[int, ...]]) -> list[str]:
    """What is wrong with the entries of a state_dict, a line for each; `want` has shapes in the library's order."""
    lines = [f"{name} is missing" for name in want if name not in state]
    lines += [f"{name} is unknown" for name in state if name not in want and not name.endswith(".num_batches_tracked")]
    for name, shape in want.items():
        if name not in state:
            continue
        expected = tuple(shape[i] for i in np.argsort(_AXES[len(shape)]))
        if state[name].shape != expected:
            lines.append(f"{name}: expected shape {expected}, found {state[name].shape}")
        elif not np.issubdtype(state[name].dtype, np.floating):
            lines.append(f"{name}: expected floating numbers, found {state[name].dtype}")
    return lines


def _name(path: tuple[str, ...]) -> str:
    """What torchvision calls a variable: ("params", "stage1_block2", "conv1", "kernel") is layer1.1.conv1.weight."""
    _, *layer, array = path
    block = re.fullmatch(r"stage(\d+)_block(\d+)", layer[0])
    prefix = f"layer{block[1]}.{int(block[2]) - 1}." if block else ""
    return f"{prefix}{_LAYERS['/'.join(layer[1:] if block else layer)]}.{_ARRAYS[array]}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the command line, converts, writes, says how to use it."""
    parser = argparse.ArgumentParser(
        prog="python -m bnn_jax.convert.torchvision",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="torchvision's, .pth; or an .npz of its arrays")
    parser.add_argument("weights", type=Path, help="the file to write, .npz")
    options = parser.parse_args(arguments)
    try:
        _check_target(options.checkpoint, options.weights)
        state = state_dict.read(options.checkpoint)
        depth, variables = depth_of(state), convert(state)
        sources.save(options.weights, variables)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        sys.exit(f"{parser.prog}: {error}")
    params = variables["params"]
    count, classes = sum(leaf.size for leaf in jax.tree.leaves(params)), params["classifier"]["bias"].size
    print(f"Wrote {options.weights}: ResNet-{depth}, {classes:,} classes, {count:,} parameters, and running statistics")
    spelled = ", ".join(f"{name}={value!r}" for name, value in OPTIONS.items())
    print(f"Use it as a teacher, by --config.teacher.source {options.weights}, in a config whose teacher.model is")
    print(f"  component(models.resnet_imagenet, depth={depth}, {spelled})")


def _check_target(checkpoint: Path, weights: Path) -> None:
    if weights.suffix != ".npz":
        raise ValueError(f"expected the name of the file to write to end in .npz, found {str(weights)!r}")
    if weights.resolve() == checkpoint.resolve():
        raise ValueError(f"{weights} would be written over itself: give the file to write another name")


if __name__ == "__main__":
    main()
