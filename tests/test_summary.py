"""The summary against arithmetic by hand and the published parameter counts."""

import io
import json

import flax.linen as nn
import pytest
from rich.console import Console

from bnn_jax.binarizers import siman, siman_activations
from bnn_jax.layers import BatchNorm, BinaryConv, BinaryDense
from bnn_jax.models import resnet18_cifar, resnet20, vgg_small
from bnn_jax.summary import render, summarize


class Small(nn.Module):
    """Float stem, a binary convolution, one with float inputs, float head."""

    @nn.compact
    def __call__(self, x, *, train: bool = False):
        x = BinaryConv(4, name="stem")(x)
        x = BatchNorm(name="norm")(x, train=train)
        x = BinaryConv(8, weights=siman(), activations=siman_activations(), name="both")(x, train=train)
        x = BinaryConv(2, weights=siman(), kernel_size=(1, 1), padding=(0, 0), name="half")(x, train=train)
        return BinaryDense(3, name="head")(x.reshape(x.shape[0], -1))


@pytest.fixture(scope="module")
def small():
    return summarize(Small(), (5, 5, 3))


def test_layers_are_as_counted_by_hand(small):
    stem, norm, both, half, head = small.layers
    assert (stem.binary_params, stem.float_params) == (0, 108)
    assert (stem.binary_macs, stem.float_macs) == (0, 25 * 108)
    assert (norm.float_params, norm.float_macs) == (8, 0)
    assert (both.binary_params, both.float_params) == (288, 8)
    assert (both.latent_bytes, both.packed_bytes) == (4 * 296, 288 // 8 + 4 * 8)
    assert (both.binary_macs, both.float_macs) == (25 * 288, 0)
    assert (both.input_bits, both.weight_bits, both.method) == (1, 1, "siman")
    assert (head.float_params, head.float_macs) == (50 * 3 + 3, 50 * 3)
    assert half.kernel_shape == (1, 1, 8, 2)


def test_binary_weights_on_float_inputs_are_float_macs(small):
    half = small.layers[3]
    assert (half.input_bits, half.weight_bits) == (32, 1)
    assert (half.binary_macs, half.float_macs) == (0, 25 * 16)
    assert half.packed_bytes == 16 // 8 + 4 * 2


def test_totals(small):
    assert small.params == 108 + 8 + 296 + 18 + 153
    assert small.binary_params == 288 + 16
    assert small.latent_bytes == 4 * small.params
    assert small.packed_bytes == 4 * (108 + 8 + 153) + 68 + 10
    assert small.compression == small.latent_bytes / small.packed_bytes
    assert small.binarized_weights == 304 / 583
    assert small.binarized_macs == 7200 / (7200 + 2700 + 400 + 150)


@pytest.mark.parametrize(
    ("factory", "params"), [(resnet20, 271_194), (resnet18_cifar, 11_179_722), (vgg_small, 4_663_562)]
)
def test_published_parameter_counts(factory, params):
    binary = summarize(factory(10, weights=siman(), activations=siman_activations()), (32, 32, 3))
    assert binary.params == params
    assert binary.compression > 19
    assert binary.binarized_macs > 0.98


def test_a_float_model_is_not_binary_at_all():
    teacher = summarize(resnet20(10), (32, 32, 3))
    assert teacher.binary_params == teacher.binary_macs == 0
    assert teacher.compression == 1
    assert teacher.binarized_weights == teacher.binarized_macs == 0


def test_a_model_without_parameters_has_no_ratios_to_fail():
    class Nothing(nn.Module):
        def __call__(self, x):
            return x

    empty = summarize(Nothing(), (4,))
    assert (empty.params, empty.compression, empty.binarized_macs) == (0, 1.0, 0.0)
    assert "total 0" in str(empty)


def test_json_holds_every_layer_and_the_totals(small):
    stored = json.loads(json.dumps(small.to_json()))
    assert stored["totals"]["params"] == small.params
    assert stored["totals"]["compression"] == small.compression
    assert [layer["name"] for layer in stored["layers"]] == [layer.name for layer in small.layers]
    assert stored["layers"][2]["kernel_shape"] == [3, 3, 4, 8]


def test_text_shows_layers_totals_and_ratios(small):
    text = str(small)
    assert text.splitlines()[0] == "Small, one example of 5x5x3"
    assert all(name in text for name in ("stem", "both", "half", "head", "1/1", "32/1", "3x3x4x8"))
    assert "total 583" in text
    assert f"{small.binarized_macs:.2%} of MACs" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_rich_table_fits_the_terminal_without_folding(width):
    summary = summarize(resnet18_cifar(10, weights=siman(), activations=siman_activations()), (32, 32, 3))
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(summary)
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    assert sum(line.startswith("stage") for line in lines) == 19
    assert any("11,157,504" in line for line in lines)
    assert any("3x3x512x512" in line for line in lines) == (width >= 100)


def test_detail_gives_every_layer_a_row(small):
    assert render(small, detail=True).row_count == len(small.layers)
    resnet = summarize(resnet20(10), (32, 32, 3))
    assert render(resnet).row_count == 20 + 2  # convolutions and classifier; all norms; all PReLUs
    assert render(resnet, detail=True).row_count == len(resnet.layers)
