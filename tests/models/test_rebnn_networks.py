"""The recipes of two steps: networks and rates of the release, and which stage takes what from where."""

import json
import math
from copy import deepcopy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.config import override, to_dict
from bnn_jax.config.component import options_of
from bnn_jax.config.file import load
from bnn_jax.data import imagenet
from bnn_jax.data.outline import outline_of
from bnn_jax.inspect import binary_layers, trace_layers
from bnn_jax.training import schedules
from bnn_jax.training.assembly import assemble
from bnn_jax.training.optimizer import decay_mask
from bnn_jax.training.stages import plan
from tests.conftest import ROOT

CIFAR = ("rebnn_resnet20", "rebnn_resnet20_10_epochs", "rebnn_resnet18", "reactnet_resnet20")


def config(name, dataset="cifar10"):
    return load(ROOT / "configs" / dataset / f"{name}.py")


@pytest.mark.parametrize("depth", [18, 34])
def test_on_imagenet_the_network_is_that_of_the_release(depth, test_data):
    counts = json.loads((test_data / "golden" / "rebnn" / "param_counts.json").read_text())[f"rebnn{depth}"]
    made = config(f"rebnn_resnet{depth}", "imagenet")
    traced = trace_layers(made.model.build(num_classes=1000), (224, 224, 3))
    binarized = binary_layers(traced)
    kernels = [layer for layer in traced if layer.path in binarized]
    assert sum(layer.num_params for layer in traced) == counts["total"] == {18: 11_708_264, 34: 21_834_984}[depth]
    assert len(kernels) == counts["n_bin"]
    assert sum(math.prod(layer.kernel_shape) for layer in kernels) == counts["bin_w"]
    assert sum(layer.param_shapes["scale"][0] for layer in kernels) == counts["scaling"]
    assert (made.epochs, made.data.batch_size, made.optimizer.weight_decay) == (256, 512, 0.0)


def test_on_imagenet_the_teacher_is_torchvisions_resnet34():
    made = config("rebnn_resnet18", "imagenet")
    teacher = assemble(made, outlined).abstract_state().teacher
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(teacher["params"])) == 21_797_672


def outlined(data):
    return outline_of(imagenet)(**options_of(data.source))


def test_learning_rates_are_the_released_ones(golden):
    made = config("rebnn_resnet18", "imagenet")
    rates = made.optimizer.learning_rate * np.asarray(schedules.linear(made.epochs)(jnp.arange(made.epochs)))
    np.testing.assert_allclose(rates, golden("rebnn", "schedules")["rebnn_lr_per_epoch"], 1e-5)
    # The first step counts as ReActNet's release does.
    first = made.stages[1].config.optimizer.schedule.build(epochs=4)
    np.testing.assert_allclose(first(jnp.arange(4)), [0.75, 0.5, 0.25, 0.0])


@pytest.mark.parametrize("name", CIFAR)
def test_real_weights_come_first_and_both_steps_learn_from_one_teacher(name):
    made = config(name)
    teacher, first, last = plan(made, None)
    assert [run.name for run in (teacher, first, last)] == ["teacher", "real_weights", ""]
    assert (first.config.teacher.source, last.config.teacher.source, last.config.init_from) == (
        *("teacher", "teacher"),
        "real_weights",
    )
    assert first.config.model.weights is None
    assert first.config.model.activations == last.config.model.activations
    assert [loss.name for run in (first, last) for loss in run.config.losses] == ["distillation"] * 2
    networks = [run.config.model.build(num_classes=10) for run in (first, last)]
    assert [len(binary_layers(trace_layers(net, (32, 32, 3)))) for net in networks] == [0, 18 if "20" in name else 16]


def test_a_teacher_from_elsewhere_is_that_of_both_steps_and_none_is_trained():
    made = config("rebnn_resnet20")
    override(made, "teacher.source", "runs/float")
    override(made, "data.source.directory", "somewhere")
    first, last = plan(deepcopy(made), None)
    assert (first.config.teacher.source, last.config.teacher.source) == ("runs/float", "runs/float")
    assert {run.config.data.source.directory for run in (first, last)} == {"somewhere"}
    override(made, "model.activations.gradient", "clip")
    assert made.stages[1].config.model.activations.gradient == "polynomial"  # another network, set on its own


def test_the_first_step_decays_kernels_and_shifts_and_the_second_nothing():
    made = config("rebnn_resnet20")
    first = made.stages[1].config
    assert (made.optimizer.weight_decay, first.optimizer.weight_decay) == (0.0, 1e-5)
    model = first.model.build(num_classes=10)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))))["params"]
    mask = decay_mask(params, {}, first.optimizer)
    names = {"/".join(k.key for k in path[-2:]) for path, kept in jax.tree_util.tree_leaves_with_path(mask) if kept}
    kernels = {"stem_conv/kernel", "conv1/kernel", "conv2/kernel", "conv/kernel"}
    shifts = {"conv1/input_shift", "conv2/input_shift", "rprelu/shift_in", "rprelu/shift_out"}
    assert names == kernels | shifts


def test_the_networks_differ_in_their_weights_alone():
    one, other = config("rebnn_resnet20"), config("reactnet_resnet20")
    assert [made.model.weights.build().name for made in (one, other)] == ["rebnn, adaptive gamma", "reactnet"]
    other.model.weights = one.model.weights
    assert to_dict(one) == to_dict(other)
