"""Tracing layers: any Flax model, our layers and stock ones."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from bnn_jax import inspect
from bnn_jax.binarizers import WeightBinarizer, irnet, siman, siman_activations
from bnn_jax.layers import BatchNorm, BinaryConv, BinaryDense
from bnn_jax.models import resnet20
from bnn_jax.nonlinearities import PReLU


class Written(nn.Module):
    """What a user might write."""

    @nn.compact
    def __call__(self, x, *, train: bool = False):
        x = nn.Conv(4, (3, 3), strides=2, feature_group_count=2, name="stem")(x)
        x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        x = BinaryConv(6, weights=siman(), activations=siman_activations(), name="conv")(x, train=train)
        x = PReLU(name="prelu")(x)
        offset = self.param("offset", nn.initializers.zeros, (6,))
        x = jnp.mean(x, (1, 2)) + offset[None]
        x = BinaryDense(5, weights=siman(), name="mid")(x, train=train)
        return nn.Dense(3, name="head")(x)


def test_layers_come_in_order_with_their_kinds():
    layers = inspect.trace_layers(Written(), (8, 8, 2))
    assert [(layer.name, layer.kind) for layer in layers] == [
        ("", "Written"),
        ("stem", "conv"),
        ("norm", "norm"),
        ("conv", "conv"),
        ("prelu", "prelu"),
        ("mid", "dense"),
        ("head", "dense"),
    ]


def test_shapes_parameters_and_macs_are_as_counted_by_hand():
    by_name = {layer.name: layer for layer in inspect.trace_layers(Written(), (8, 8, 2))}
    stem, conv, mid, head = (by_name[name] for name in ("stem", "conv", "mid", "head"))
    assert (stem.input_shape, stem.output_shape) == ((8, 8, 2), (4, 4, 4))
    assert stem.param_shapes == {"kernel": (3, 3, 1, 4), "bias": (4,)}
    assert stem.macs == 4 * 4 * (3 * 3 * 1) * 4
    assert conv.kernel_shape == (3, 3, 4, 6)
    assert conv.param_shapes == {"kernel": (3, 3, 4, 6), "scale": (6,)}
    assert conv.macs == 4 * 4 * (3 * 3 * 4) * 6
    assert (mid.macs, head.macs) == (6 * 5, 5 * 3)
    assert by_name[""].param_shapes == {"offset": (6,)}
    assert by_name["norm"].macs == by_name["prelu"].macs == by_name[""].macs == 0
    assert conv.num_params == 3 * 3 * 4 * 6 + 6


def test_binarizers_are_found_where_they_are_and_nowhere_else():
    layers = inspect.trace_layers(Written(), (8, 8, 2))
    assert inspect.binary_layers(layers) == {("conv",): siman(), ("mid",): siman()}
    assert [layer.name for layer in layers if layer.activations] == ["conv"]


class Lifted(nn.Module):
    lift: str
    weights: WeightBinarizer | None

    @nn.compact
    def __call__(self, x):
        def body(layer, carry, _):
            return layer(carry), None

        dense = BinaryDense(4, weights=self.weights, use_bias=False)
        collections, rngs = {"params": 0, "memory": 0}, {"params": True}
        if self.lift == "remat":
            return nn.remat(BinaryDense)(4, weights=self.weights, use_bias=False)(x)
        if self.lift == "scan":
            return nn.scan(body, variable_axes=collections, split_rngs=rngs, length=3)(dense, x, None)[0]
        many = nn.vmap(BinaryDense, in_axes=1, variable_axes=collections, split_rngs=rngs)
        return many(4, weights=self.weights, use_bias=False)(x)


@pytest.mark.parametrize("weights", [siman(), irnet()], ids=lambda weights: weights.name)
@pytest.mark.parametrize("lift", ["scan", "vmap"])
def test_stacked_binary_layers_are_refused_whose_filters_would_be_taken_for_one_layers(lift, weights):
    shape = (4,) if lift == "scan" else (3, 4)
    with pytest.raises(ValueError, match=r"stacks the kernels of several binary layers into one of \(3, 4, 4\)"):
        inspect.binary_layers(inspect.trace_layers(Lifted(lift, weights), shape))
    assert inspect.binary_layers(inspect.trace_layers(Lifted(lift, None), shape)) == {}
    assert len(inspect.binary_layers(inspect.trace_layers(Lifted("remat", weights), shape))) == 1


def test_every_parameter_belongs_to_exactly_one_layer():
    model = resnet20(10, weights=siman(), activations=siman_activations())
    layers = inspect.trace_layers(model, (32, 32, 3))
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    assert sum(layer.num_params for layer in layers) == sum(math.prod(x.shape) for x in jax.tree.leaves(params))
    for layer in layers:
        for name, shape in layer.param_shapes.items():
            assert inspect.get(params, (*layer.path, name)).shape == shape
    assert len(inspect.binary_layers(layers)) == 18


def test_tracing_computes_nothing():
    # 10^14 weights would not fit in any memory.
    (layer,) = inspect.trace_layers(nn.Dense(10**7, use_bias=False), (10**7,))
    assert layer.macs == layer.num_params == 10**14


class Shared(nn.Module):
    """One layer called twice, through setup."""

    def setup(self):
        self.dense = nn.Dense(4, use_bias=False)

    def __call__(self, x):
        return self.dense(self.dense(x))


def test_a_layer_called_twice_has_its_parameters_once_and_its_macs_twice():
    (layer,) = inspect.trace_layers(Shared(), (4,))
    assert (layer.calls, layer.num_params, layer.macs) == (2, 16, 32)


class Checkpointed(nn.Module):
    """A layer under rematerialization."""

    @nn.compact
    def __call__(self, x):
        return nn.remat(nn.Dense)(4, name="dense")(x)


def test_rematerialized_layers_count_once():
    (layer,) = inspect.trace_layers(Checkpointed(), (3,))
    assert (layer.path, layer.calls, layer.macs) == (("dense",), 1, 12)


def test_other_stock_layers():
    (transposed,) = inspect.trace_layers(nn.ConvTranspose(5, (2, 2), strides=(2, 2), use_bias=False), (4, 4, 3))
    assert transposed.output_shape == (8, 8, 5)
    assert transposed.macs == 4 * 4 * (2 * 2 * 3 * 5)
    (local,) = inspect.trace_layers(nn.ConvLocal(5, (3,), padding="VALID", use_bias=False), (6, 2))
    assert local.macs == 4 * (3 * 2) * 5
    general = nn.DenseGeneral((2, 7), axis=(-2, -1), use_bias=False)
    (general,) = inspect.trace_layers(general, (3, 4, 5))
    assert general.macs == 3 * (4 * 5) * (2 * 7)
    (embed,) = inspect.trace_layers(nn.Embed(10, 4), (6,), dtype=jnp.int32)
    assert (embed.kind, embed.num_params, embed.macs) == ("Embed", 40, 0)
    (sequence,) = inspect.trace_layers(nn.Dense(5), (7, 3))
    assert sequence.macs == 7 * 3 * 5


class Own(nn.Module):
    """A dense layer of the user's own, by another name."""

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.ones, (x.shape[-1], 3))
        return self._multiply(x, kernel)

    def _multiply(self, x, kernel):
        return x @ kernel


def test_a_dense_layer_of_other_make_is_known_by_its_kernel():
    (layer,) = inspect.trace_layers(Own(), (5,))
    assert (layer.kind, layer.macs, layer.calls) == ("dense", 15, 1)


def test_arguments_reach_the_model():
    class Needy(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return nn.Dropout(0.5, deterministic=not train)(nn.Dense(2)(x))

    (layer,) = inspect.trace_layers(Needy(), (3,), train=True)
    assert layer.macs == 6


@pytest.mark.parametrize("shape", [(0, 8, 3), (None, 8, 8, 3), (8.0, 8, 3)])
def test_shapes_that_are_none_are_refused(shape):
    with pytest.raises(ValueError, match="without batch"):
        inspect.trace_layers(Written(), shape)


def test_get_and_put():
    tree = {"a": {"b": 1, "c": 2}, "d": 3}
    changed = inspect.put(tree, ("a", "b"), 9)
    assert changed == {"a": {"b": 9, "c": 2}, "d": 3}
    assert tree == {"a": {"b": 1, "c": 2}, "d": 3}
    assert inspect.put({}, ("x", "y"), 1) == {"x": {"y": 1}}
    assert inspect.get(changed, ("a", "b")) == 9
    with pytest.raises(KeyError, match=r"no 'a/z'.*under 'a', found \['b', 'c'\]"):
        inspect.get(tree, ("a", "z"))
    with pytest.raises(KeyError, match="found int"):
        inspect.get(tree, ("d", "z"))
    with pytest.raises(ValueError, match="one or more"):
        inspect.put(tree, (), 1)


def test_operands_are_what_a_binarizer_takes():
    model = Written()
    variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 2)))
    kernel, learned, memory = inspect.operands(variables["params"], variables["memory"], ("conv",), siman())
    assert kernel is variables["params"]["conv"]["kernel"]
    assert set(learned) == {"scale"}
    assert set(memory) == {"code"}
    assert siman().apply(kernel, learned, memory).shape == kernel.shape


def test_batch_norm_of_the_library_is_a_norm():
    (layer,) = inspect.trace_layers(BatchNorm(), (4, 4, 3))
    assert (layer.kind, layer.num_params) == ("norm", 6)
