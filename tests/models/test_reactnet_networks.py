"""ReActNet's networks: the released blocks of both steps, and parameter counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from bnn_jax.binarizers import reactnet, rebnn, rsign
from bnn_jax.inspect import binary_layers, trace_layers
from bnn_jax.models import resnet_imagenet
from bnn_jax.models.blocks import Block
from bnn_jax.models.parts import Parts
from tests.reference.layouts import hwio, nhwc

RENAMED = {
    "move0.bias": ("conv1", "input_shift"),
    "binary_conv.weight": ("conv1", "kernel"),
    "binary_conv.scaling_factor": ("conv1", "scale"),
    "bn1.weight": ("norm1", "scale"),
    "bn1.bias": ("norm1", "bias"),
    "move1.bias": ("act1", "rprelu", "shift_in"),
    "prelu.weight": ("act1", "rprelu", "prelu", "slope"),
    "move2.bias": ("act1", "rprelu", "shift_out"),
    "downsample.1.weight": ("shortcut", "conv", "kernel"),
    "downsample.2.weight": ("shortcut", "norm", "scale"),
    "downsample.2.bias": ("shortcut", "norm", "bias"),
}


def renamed(arrays, prefix):
    """The released tensors of this prefix under our paths."""
    found = {path: arrays[prefix + name] for name, path in RENAMED.items() if prefix + name in arrays}
    return {path: jnp.asarray(hwio(v) if path[-1] == "kernel" else v.ravel()) for path, v in found.items()}


def silent_second_half(params):
    """Parameters whose second convolution adds nothing and whose second activation is the identity."""
    flat = flatten_dict(params)
    flat["norm2", "scale"] = jnp.zeros_like(flat["norm2", "scale"])
    flat["act2", "rprelu", "prelu", "slope"] = jnp.ones_like(flat["act2", "rprelu", "prelu", "slope"])
    return flat


@pytest.mark.parametrize(
    ("name", "features", "stride", "weights"),
    [
        ("block_reactnet_step1_stride1", 8, 1, None),
        ("block_reactnet_step2_stride2", 16, 2, reactnet()),
        ("block_rebnn_stride1", 8, 1, rebnn("released")),
    ],
)
def test_the_released_block_forward_and_backward(golden, name, features, stride, weights):
    # The release has one convolution in a block, of which ours has two: the second is silenced.
    a = golden("rebnn", name)
    block = Block(features, stride, "double", "pool_conv", Parts(weights, rsign(), "rprelu"))
    x = jnp.asarray(nhwc(a["x"]))
    variables = block.init(jax.random.key(0), x, train=True, progress=0.0)
    released = renamed(a, "param_")
    params = unflatten_dict(silent_second_half(variables["params"]) | released)

    def apply(params, x):
        return block.apply({**variables, "params": params}, x, train=True, progress=0.0, mutable=["batch_stats"])

    out, back, moved = jax.vjp(apply, params, x, has_aux=True)
    np.testing.assert_allclose(np.asarray(out), nhwc(a["out"]), 2e-5, 2e-5)
    grads, grad_x = back(jnp.asarray(nhwc(a["gout"])))
    np.testing.assert_allclose(np.asarray(grad_x), nhwc(a["gx"]), 1e-4, 1e-4)
    if weights is not None:
        # What the release adds in the backward pass is a term of the loss here.
        held = jax.grad(lambda p: weights.penalty(p["conv1"]["kernel"], p["conv1"], {}, progress=0.0))(params)
        grads = jax.tree.map(jnp.add, grads, held)
    flat = flatten_dict(grads)
    wanted = renamed(a, "grad_")
    assert set(wanted) == set(released)
    for path, value in wanted.items():
        np.testing.assert_allclose(np.asarray(flat[path]), np.asarray(value), 2e-4, 2e-4, err_msg="/".join(path))
    statistics = moved["batch_stats"]["norm1"]
    np.testing.assert_allclose(np.asarray(statistics["mean"]), a["buf_bn1.running_mean"], 1e-4, 1e-5)
    np.testing.assert_allclose(np.asarray(statistics["var"]), a["buf_bn1.running_var"], 1e-4, 1e-5)


@pytest.mark.parametrize(
    ("depth", "total", "binary", "layers"), [(18, 11_704_424, 10_985_472, 16), (34, 21_827_432, 21_086_208, 32)]
)
def test_parameter_counts_are_those_of_the_release(depth, total, binary, layers):
    options = {"activation": "rprelu", "shortcut": "pool_conv", "stem_activation": "none", "head_norm": False}
    model = resnet_imagenet(1000, reactnet(), rsign(), depth, **options)
    traced = trace_layers(model, (224, 224, 3))
    binarized = binary_layers(traced)
    assert sum(layer.num_params for layer in traced) == total
    kernels = [int(np.prod(layer.kernel_shape)) for layer in traced if layer.path in binarized]
    assert (len(kernels), sum(kernels)) == (layers, binary)
