"""IR-Net's and LCR-BNN's networks: the released block, parameter counts, and the cost of the recipe."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.binarizers import irnet, irnet_activations
from bnn_jax.config import component
from bnn_jax.config.component import options_of
from bnn_jax.config.file import load
from bnn_jax.data import from_arrays, imagenet, outline_of
from bnn_jax.models.blocks import Block
from bnn_jax.models.parts import Parts
from bnn_jax.training.assembly import assemble
from bnn_jax.training.schedules import cosine
from bnn_jax.training.state import without_losses
from tests.conftest import ROOT
from tests.reference.layouts import hwio, nhwc

COUNTS = {"resnet20": 269_850, "resnet18": 11_174_986, "vgg_small": 4_660_106}


def config(name):
    return load(ROOT / "configs" / "cifar10" / f"{name}.py")


def few_images(count: int = 8):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
    return from_arrays(images, rng.integers(0, 10, count), images, np.zeros(count, np.int64), 10, name="few")


def released(arrays, prefix):
    """The released block's tensors under our names."""
    tree = {}
    layers = {"conv1": "conv1", "bn1": "norm1", "conv2": "conv2", "bn2": "norm2"}
    layers |= {"shortcut.0": "shortcut/conv", "shortcut.1": "shortcut/norm"}
    for theirs, ours in layers.items():
        weight = arrays[f"{prefix}/{theirs}.weight"]
        if weight.ndim == 4:
            leaf = {"kernel": jnp.asarray(hwio(weight))}
        else:
            leaf = {"scale": jnp.asarray(weight), "bias": jnp.asarray(arrays[f"{prefix}/{theirs}.bias"])}
        node = tree
        *path, last = ours.split("/")
        for part in path:
            node = node.setdefault(part, {})
        node[last] = leaf
    return tree


def test_the_released_block_forward_and_backward(golden):
    arrays = golden("lcr", "irnet_block_cifar18_singleskip")
    parts = Parts(irnet(1.0, 1.0), irnet_activations(1.0, 1.0), "hardtanh")
    block = Block(8, 2, "single", "conv", parts)
    x, params = jnp.asarray(nhwc(arrays["x"])), released(arrays, "param")
    variables = jax.eval_shape(lambda: block.init(jax.random.key(0), x, train=True, progress=0.0))
    stats = jax.tree.map(lambda v: jnp.zeros(v.shape), variables["batch_stats"])

    def forward(params, x):
        y, _ = block.apply(
            {"params": params, "batch_stats": stats}, x, train=True, progress=0.5, mutable=["batch_stats"]
        )
        return y

    y, back = jax.vjp(forward, params, x)
    np.testing.assert_allclose(np.asarray(y), nhwc(arrays["y"]), 1e-4, 1e-5)
    grads, grad_x = back(jnp.asarray(nhwc(arrays["grad_out"])))
    for (path, actual), expected in zip(
        jax.tree_util.tree_leaves_with_path(grads), jax.tree.leaves(released(arrays, "grad")), strict=True
    ):
        atol = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(np.asarray(actual), expected, 1e-4, atol, err_msg=str(path))
    np.testing.assert_allclose(np.asarray(grad_x), nhwc(arrays["grad_x"]), 1e-4, 1e-5)


@pytest.mark.parametrize("method", ["irnet", "lcr"])
@pytest.mark.parametrize("network", COUNTS)
def test_parameter_counts_are_those_of_the_release(method, network):
    model = config(f"{method}_{network}").model.build(num_classes=10)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))))
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])) == COUNTS[network]
    assert "memory" not in variables


@pytest.mark.parametrize("network", COUNTS)
def test_the_teachers_features_have_the_shapes_that_retention_needs(network):
    """`assemble` evaluates the loss on shapes: here on whole networks, with teacher and learned scales."""
    made = config(f"lcr_{network}")
    made.data.source = component(few_images)
    made.data.batch_size = made.data.eval_batch_size = 8
    experiment = assemble(made)
    assert experiment.teacher is not None
    assert not any(layer for layer in (experiment.teacher.parts.weights, experiment.teacher.parts.activations))
    count = len(made.losses[1].term.features)
    assert experiment.learned["lipschitz"]["scales"].shape == (count,)
    assert made.losses[1].weight == pytest.approx(6.25e-6)


@pytest.mark.parametrize(("network", "count"), [("resnet18", 11_690_536), ("resnet34", 21_798_696)])
def test_on_imagenet_the_network_is_that_of_the_release_and_the_teacher_torchvisions(network, count):
    """The release counts 2,000 parameters of a layer that it never uses, and 4 scales that its loss learns."""
    made = load(ROOT / "configs" / "imagenet" / f"lcr_{network}.py")
    experiment = assemble(made, lambda data: outline_of(imagenet)(**options_of(data.source)))
    state = experiment.abstract_state()
    own, theirs = (
        sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(without_losses(params)))
        for params in (state.params, state.teacher["params"])
    )
    assert own == count
    assert theirs == {"resnet18": 11_689_512, "resnet34": 21_797_672}[network]
    assert experiment.learned["lipschitz"]["scales"].shape == (4,)
    assert experiment.steps_per_epoch == 10_009


def test_one_forward_pass_of_the_binary_network_and_one_of_the_teacher_make_a_step():
    made = config("lcr_resnet20")
    made.data.source = component(few_images)
    made.data.batch_size = made.data.eval_batch_size = 8
    experiment = assemble(made)
    batch = {"image": jnp.zeros((1, 8, 32, 32, 3), jnp.uint8), "label": jnp.zeros((1, 8), jnp.int32)}
    text = experiment.train_step.lower(experiment.abstract_state(), batch).as_text()
    # Stem, 18 convolutions of 9 blocks; forward ones have inputs and kernels of these sizes alone.
    stems = text.count("tensor<8x32x32x3xf32>, tensor<3x3x3x16xf32>) -> tensor<8x32x32x16xf32>")
    assert stems == 2


@pytest.mark.parametrize("epochs", [100, 120])
def test_learning_rates_are_the_released_ones(golden, epochs):
    rates = 0.1 * np.asarray(cosine(epochs)(jnp.arange(epochs)))
    np.testing.assert_allclose(rates, golden("lcr", "lr_schedule")[f"nowarm_E{epochs}"], 1e-5, 1e-8)
