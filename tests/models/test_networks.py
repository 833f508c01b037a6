"""Whole networks: parameter counts of the released code, names, shapes, initialization."""

import inspect
import json
import math
from functools import cache

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from bnn_jax import models
from bnn_jax.binarizers import siman, siman_activations
from bnn_jax.models import resnet18_cifar, resnet20, resnet_imagenet, vgg_small

KEY = jax.random.key(0)
BINARY = {"weights": siman(), "activations": siman_activations()}

# name in the release: (factory, its arguments, image, features: shapes for a batch of 2)
NETWORKS = {
    "cifar_resnet20": (
        resnet20,
        {"num_classes": 10},
        32,
        {
            "stem": (32, 32, 16),
            "stage1": (32, 32, 16),
            "stage2": (16, 16, 32),
            "stage3": (8, 8, 64),
            "pooled": (64,),
        },
    ),
    "cifar_resnet18": (
        resnet18_cifar,
        {"num_classes": 10},
        32,
        {
            "stem": (32, 32, 64),
            "stage1": (32, 32, 64),
            "stage2": (16, 16, 128),
            "stage3": (8, 8, 256),
            "stage4": (4, 4, 512),
            "pooled": (512,),
        },
    ),
    "cifar_vgg_small": (
        vgg_small,
        {"num_classes": 10},
        32,
        {"stem": (32, 32, 128), "stage1": (16, 16, 128), "stage2": (8, 8, 256), "stage3": (4, 4, 512)},
    ),
    "imagenet_resnet18": (resnet_imagenet, {"num_classes": 1000, "depth": 18}, 224, None),
    "imagenet_resnet34": (resnet_imagenet, {"num_classes": 1000, "depth": 34}, 224, None),
}
IMAGENET_FEATURES = {
    "stem": (56, 56, 64),
    "stage1": (56, 56, 64),
    "stage2": (28, 28, 128),
    "stage3": (14, 14, 256),
    "stage4": (7, 7, 512),
    "pooled": (512,),
}
networks = pytest.mark.parametrize("name", NETWORKS)
# Networks with the kinds of layers of the released ones, but fewer: image size, other attributes.
SMALL = {
    "cifar_resnet20": (16, {"stages": (2, 1, 1)}),
    "cifar_resnet18": (8, {"stages": (1, 1), "widths": (16, 32)}),
    "cifar_vgg_small": (8, {}),
    "imagenet_resnet18": (32, {"stages": (1, 1), "widths": (16, 32)}),
}


def make(name, **kwargs):
    factory, arguments, *_ = NETWORKS[name]
    return factory(**arguments, **kwargs)


def abstract(model, size):
    """Shapes of the variables and of the outputs, without computing any."""
    x = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    outputs, variables = jax.eval_shape(model.init_with_output, KEY, x)
    return variables, outputs


@cache
def whole(name, binary):
    """The same of a whole released network, with or without binarizers."""
    return abstract(make(name, **(BINARY if binary else {})), NETWORKS[name][2])


def shapes(tree):
    return {path: leaf.shape for path, leaf in flatten_dict(tree).items()}


def count(tree):
    return sum(math.prod(shape) for shape in shapes(tree).values())


@pytest.fixture(scope="module")
def released(test_data):
    return json.loads((test_data / "golden" / "siman" / "param_groups.json").read_text())


class TestStructure:
    @networks
    def test_counts_of_parameters_binary_weights_and_binary_layers_are_those_of_the_release(self, released, name):
        expected = released[name]
        variables, _ = whole(name, binary=True)
        assert count(variables["params"]) == expected["total_trainable"]
        assert count(variables["memory"]) == expected["binarized_weights"]
        assert len(flatten_dict(variables["memory"])) == expected["n_binarized_layers"]
        assert len(flatten_dict(variables["params"])) == expected["n_tensors"]

    @networks
    def test_logits_and_named_features_have_their_shapes(self, name):
        _, arguments, _, features = NETWORKS[name]
        for binary in (True, False):
            _, (logits, actual) = whole(name, binary)
            assert logits.shape == (2, arguments["num_classes"])
            assert {k: v.shape[1:] for k, v in actual.items()} == (features or IMAGENET_FEATURES)

    @networks
    def test_float_teacher_has_the_same_parameters_less_what_binarizers_learn(self, name):
        (binary, _), (teacher, _) = whole(name, binary=True), whole(name, binary=False)
        assert "memory" not in teacher
        ours, theirs = shapes(binary["params"]), shapes(teacher["params"])
        assert theirs.items() <= ours.items()
        scales = {(*path[:-2], "scale") for path in flatten_dict(binary["memory"])}
        assert set(ours) - set(theirs) == scales
        assert shapes(binary["batch_stats"]) == shapes(teacher["batch_stats"])

    @networks
    def test_stem_and_classifier_are_full_precision_and_all_binary_layers_have_a_name_of_their_own(self, name):
        variables, _ = whole(name, binary=True)
        layers = {"/".join(path[:-2]) for path in flatten_dict(variables["memory"])}
        assert all(layer.split("/")[-1].startswith("conv") for layer in layers)
        assert not layers & {"stem_conv", "conv0", "classifier"}
        real = set(shapes(variables["params"])) - {
            (*layer.split("/"), leaf) for layer in layers for leaf in ("kernel", "scale")
        }
        kernels = {"/".join(path[:-1]) for path in real if path[-1] == "kernel"}
        expected = {"classifier", "conv0" if "vgg" in name else "stem_conv"}
        if name.startswith("imagenet"):
            expected |= {f"stage{i}_block1/shortcut/conv" for i in (2, 3, 4)}
        assert kernels == expected

    def test_width_and_number_of_classes_are_arguments(self):
        variables, (logits, features) = abstract(resnet20(num_classes=7, width=8, **BINARY), 16)
        assert logits.shape == (2, 7)
        assert features["stage3"].shape == (2, 4, 4, 32)
        assert variables["params"]["stage1_block1"]["conv1"]["kernel"].shape == (3, 3, 8, 8)

    @pytest.mark.parametrize("shortcut", ["pad", "conv", "binary_conv", "pool_conv"])
    @pytest.mark.parametrize("skip", ["single", "double"])
    def test_every_skip_and_shortcut_gives_the_same_shapes(self, skip, shortcut):
        variables, (logits, _) = abstract(resnet20(num_classes=10, skip=skip, shortcut=shortcut, **BINARY), 16)
        assert logits.shape == (2, 10)
        extra = {"pad": 0, "conv": 0, "binary_conv": 2, "pool_conv": 0}[shortcut]
        assert len(flatten_dict(variables["memory"])) == 18 + extra

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"skip": "triple"}, r"unknown skip 'triple'.*'single', 'double'"),
            ({"shortcut": "none"}, r"unknown shortcut 'none'.*'pad', 'conv', 'binary_conv', 'pool_conv'"),
        ],
    )
    def test_unknown_options_are_refused_with_those_known(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            resnet20(num_classes=10, **arguments)
        with pytest.raises(ValueError, match=r"unknown depth 50: expected one of \[18, 34\]"):
            resnet_imagenet(num_classes=10, depth=50)

    def test_every_factory_is_public_and_binarizes_nothing_by_default(self):
        for factory in (resnet20, resnet18_cifar, resnet_imagenet, vgg_small):
            assert factory.__name__ in models.__all__
            defaults = inspect.signature(factory).parameters
            assert defaults["weights"].default is None
            assert defaults["activations"].default is None


class TestForward:
    @pytest.mark.parametrize("name", SMALL)
    def test_a_training_forward_is_finite_and_moves_statistics_and_memory_only(self, name):
        size, attributes = SMALL[name]
        model = make(name, **BINARY).clone(**attributes)
        x = jax.random.normal(KEY, (2, size, size, 3))
        variables = jax.jit(model.init)(KEY, x)
        mutable = ["batch_stats", "memory"]

        @jax.jit
        @chex.assert_max_traces(n=1)
        def apply(v, x, p):
            return model.apply(v, x, train=True, progress=p, mutable=mutable)

        (logits, features), moved = apply(variables, x, 0.0)
        for leaf in jax.tree.leaves((logits, features, moved)):
            assert np.isfinite(np.asarray(leaf, np.float64)).all()
        assert set(moved) == set(mutable)
        assert jax.tree.structure(moved) == jax.tree.structure({k: variables[k] for k in mutable})
        for path, after in flatten_dict(moved["batch_stats"]).items():
            assert (np.asarray(after) != np.asarray(flatten_dict(variables["batch_stats"])[path])).any(), path
        # The weights have not moved, so neither have their codes.
        for path, after in flatten_dict(moved["memory"]).items():
            np.testing.assert_array_equal(after, flatten_dict(variables["memory"])[path])
        apply(variables, x, 0.5)
        chex.clear_trace_counter()

    def test_every_parameter_of_a_binary_network_gets_a_finite_gradient_which_is_not_zero(self):
        model = resnet20(num_classes=10, width=8, **BINARY).clone(stages=(1, 1, 1))
        x = jax.random.normal(KEY, (4, 16, 16, 3))
        variables = jax.jit(model.init)(KEY, x)
        labels = jnp.arange(4)

        @jax.jit
        def gradient(params):
            def loss(p):
                (logits, _), _ = model.apply(
                    {**variables, "params": p}, x, train=True, mutable=["batch_stats", "memory"]
                )
                return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()

            return jax.grad(loss)(params)

        for path, g in flatten_dict(gradient(variables["params"])).items():
            assert np.isfinite(np.asarray(g)).all(), path
            assert np.abs(np.asarray(g)).max() > 0, path

    def test_over_axis_reduces_statistics_over_the_whole_batch(self):
        model = resnet20(num_classes=10, width=8, **BINARY).clone(stages=(1, 1, 1))
        x = jax.random.normal(KEY, (4, 8, 8, 3))
        variables = jax.jit(model.init)(KEY, x)
        mutable = ["batch_stats", "memory"]
        (whole, _), moved = jax.jit(lambda v: model.apply(variables, v, train=True, mutable=mutable))(x)
        split = model.over_axis("batch")
        mapped = jax.vmap(lambda v: split.apply(variables, v, train=True, mutable=mutable), axis_name="batch")
        (shards, _), moved_shards = jax.jit(mapped)(x.reshape(2, 2, 8, 8, 3))
        np.testing.assert_allclose(np.asarray(shards.reshape(4, 10)), np.asarray(whole), 1e-3, 1e-3)
        for path, right in flatten_dict(moved["batch_stats"]).items():
            for copy in flatten_dict(moved_shards["batch_stats"])[path]:
                np.testing.assert_allclose(np.asarray(copy), np.asarray(right), 1e-3, 1e-4, err_msg=str(path))


class TestInitialization:
    def test_it_is_a_function_of_the_key_alone(self):
        model, x = resnet20(num_classes=10, width=8, **BINARY).clone(stages=(1, 1, 1)), jnp.zeros((1, 8, 8, 3))
        init = jax.jit(model.init)
        first, again, other = (init(jax.random.key(seed), x) for seed in (0, 0, 1))
        kernels = 0
        for path, leaf in flatten_dict(first).items():
            np.testing.assert_array_equal(np.asarray(leaf), np.asarray(flatten_dict(again)[path]))
            if path[-1] == "kernel":
                assert (np.asarray(leaf) != np.asarray(flatten_dict(other)[path])).any()
                kernels += 1
        assert kernels == 8

    def test_batch_and_image_values_do_not_matter(self):
        model = resnet20(num_classes=10, width=8, **BINARY).clone(stages=(1, 1, 1))
        init = jax.jit(model.init)
        first, again = init(KEY, jnp.zeros((1, 8, 8, 3))), init(KEY, 5 + jnp.ones((2, 8, 8, 3)))
        for path, leaf in flatten_dict(first).items():
            np.testing.assert_array_equal(np.asarray(leaf), np.asarray(flatten_dict(again)[path]), err_msg=str(path))

    def test_networks_start_as_the_papers_recipes_say(self):
        model = resnet20(num_classes=10, **BINARY).clone(stages=(1, 1, 2))
        params = jax.jit(model.init)(KEY, jnp.zeros((1, 8, 8, 3)))["params"]
        kernel = np.asarray(params["stage3_block2"]["conv1"]["kernel"])
        assert kernel.std() == pytest.approx((2 / 576) ** 0.5, rel=0.02)
        np.testing.assert_allclose(np.asarray(params["stage3_block2"]["conv1"]["scale"]), 0.5 / 24, 1e-6)
        np.testing.assert_array_equal(np.asarray(params["stage3_block2"]["act1"]["prelu"]["slope"]), 0.25)

    def test_silent_branches_are_an_option_which_spares_the_last_norm(self):
        model = resnet_imagenet(num_classes=10, norm_scale=1e-8, **BINARY)
        model = model.clone(stages=(1, 1), widths=(16, 32))
        params = jax.jit(model.init)(KEY, jnp.zeros((1, 32, 32, 3)))["params"]
        scales = {p: v for p, v in flatten_dict(params).items() if p[-1] == "scale" and "norm" in p[-2]}
        assert len(scales) == 1 + 4 + 1 + 1
        for path, value in scales.items():
            expected = 1.0 if path[0] == "head_norm" else np.float32(1e-8)
            np.testing.assert_array_equal(np.asarray(value), expected, err_msg=str(path))
