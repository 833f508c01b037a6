"""Residual blocks against arrays which the authors' released code made, and against their own formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from bnn_jax.binarizers import siman, siman_activations
from bnn_jax.binarizers.siman import project
from bnn_jax.models.blocks import Block, Shortcut
from bnn_jax.models.parts import Parts
from tests.reference.layouts import hwio, nhwc

RTOL, ATOL = 2e-5, 2e-6
KEY = jax.random.key(0)

# Name in the release -> path in the library's collections.
RENAMED = {
    "conv1.weight": ("conv1", "kernel"),
    "conv1.alpha": ("conv1", "scale"),
    "bn1.weight": ("norm1", "scale"),
    "bn1.bias": ("norm1", "bias"),
    "nonlinear1.weight": ("act1", "prelu", "slope"),
    "conv2.weight": ("conv2", "kernel"),
    "conv2.alpha": ("conv2", "scale"),
    "bn2.weight": ("norm2", "scale"),
    "bn2.bias": ("norm2", "bias"),
    "nonlinear2.weight": ("act2", "prelu", "slope"),
    "shortcut.0.weight": ("shortcut", "conv", "kernel"),
    "shortcut.0.alpha": ("shortcut", "conv", "scale"),
    "shortcut.1.weight": ("shortcut", "norm", "scale"),
    "shortcut.1.bias": ("shortcut", "norm", "bias"),
}
STATISTICS = {"running_mean": "mean", "running_var": "var"}
NORMS = {"bn1": ("norm1",), "bn2": ("norm2",), "shortcut.1": ("shortcut", "norm")}
CONVS = {"conv1": ("conv1",), "conv2": ("conv2",), "shortcut.0": ("shortcut", "conv")}

BLOCKS = {
    "cifar_resnet20_stride1": (8, 1, "double", "pad", "prelu"),
    "cifar_resnet20_stride2": (16, 2, "double", "pad", "prelu"),
    "cifar_resnet18_stride2": (16, 2, "single", "binary_conv", "hardtanh"),
}


def from_torch(array):
    if array.ndim == 4:
        return hwio(array)
    return array.ravel()


class Case:
    """One golden block: its arrays under the library's paths, and the block."""

    def __init__(self, arrays, name, rule):
        features, stride, skip, shortcut, activation = BLOCKS[name]
        self.block = Block(
            features, stride, skip, shortcut, Parts(siman(rule), siman_activations(), activation=activation)
        )
        self.params, self.grads = (
            {RENAMED[k.removeprefix(p)]: from_torch(v) for k, v in arrays.items() if k.startswith(p)}
            for p in ("param_", "grad_")
        )
        self.projected = {
            path: np.asarray(project(jnp.asarray(v), arrays["percent"].item())) if path[-1] == "kernel" else v
            for path, v in self.params.items()
        }
        self.x, self.gout, self.gx, self.out, self.out_eval = (
            nhwc(arrays[k]) for k in ("x", "gout", "gx", "out", "out_eval")
        )

    def run(self):
        """The training forward and its gradients, at the projected parameters."""
        start = self.block.init(KEY, self.x, train=False, progress=0.0)

        def apply(params, x):
            variables = {**start, "params": unflatten_dict(params)}
            mutable = ["batch_stats", "memory"]
            return self.block.apply(variables, x, train=True, progress=0.0, mutable=mutable)

        out, vjp, moved = jax.vjp(apply, self.projected, self.x, has_aux=True)
        return out, moved, *vjp(jnp.asarray(self.gout))


@pytest.fixture(params=[(n, r) for n in BLOCKS for r in ("median", "half")], ids=str)
def case(request, golden):
    name, rule = request.param
    arrays = golden("siman", f"block_{name}")
    made = Case(arrays, name, rule)
    made.arrays = arrays
    return made


class TestGolden:
    def test_forward_gradients_statistics_codes_and_evaluation_are_those_of_the_release(self, case):
        arrays = case.arrays
        for name, path in CONVS.items():
            if f"wafter_{name}.weight" in arrays:
                expected = hwio(arrays[f"wafter_{name}.weight"])
                np.testing.assert_allclose(case.projected[(*path, "kernel")], expected, RTOL, ATOL)
        out, moved, grads, gx = case.run()
        np.testing.assert_allclose(np.asarray(out), case.out, RTOL, ATOL)
        np.testing.assert_allclose(np.asarray(gx), case.gx, RTOL, max(ATOL, 1e-6 * np.abs(case.gx).max()))
        assert set(grads) == set(case.grads)
        for path, expected in case.grads.items():
            # Sums over a whole batch cancel: exact to the rounding of the largest entry. The scale of a
            # convolution hardly matters to the norm behind it, so its gradient is nearly all cancellation: the
            # released figures themselves differ by up to 6e-5 from the same computation in float64.
            before_norm = path[-1] == "scale" and "conv" in path[-2]
            atol = 2e-4 if before_norm else max(ATOL, 1e-6 * np.abs(expected).max())
            np.testing.assert_allclose(np.asarray(grads[path]), expected, RTOL, atol, err_msg=str(path))
        compared = 0
        for key, expected in arrays.items():
            kind, _, name = key.partition("_")
            if kind == "B":
                layer = name.removesuffix(".B")
                path = ("memory", *CONVS[layer], "binarizer", "code")
                shape = arrays[f"param_{layer}.weight"].shape
                wanted = 2 * hwio(expected.reshape(shape)) - 1
                np.testing.assert_array_equal(np.asarray(flatten_dict(moved)[path]), wanted)
                compared += 1
            elif kind == "buf" and key.split(".")[-1] in STATISTICS:
                layer, _, statistic = name.rpartition(".")
                path = ("batch_stats", *NORMS[layer], STATISTICS[statistic])
                np.testing.assert_allclose(np.asarray(flatten_dict(moved)[path]), expected, RTOL, ATOL)
                compared += 1
        assert compared == len(flatten_dict(moved))
        variables = {"params": unflatten_dict(case.projected), **moved}
        out_eval = case.block.apply(variables, case.x, train=False, progress=0.0)
        np.testing.assert_allclose(np.asarray(out_eval), case.out_eval, RTOL, ATOL)

    def test_parameter_names_and_shapes_are_those_of_the_release(self, case):
        params = case.block.init(KEY, case.x, train=False, progress=0.0)["params"]
        assert {k: v.shape for k, v in flatten_dict(params).items()} == {k: v.shape for k, v in case.params.items()}


class TestShortcut:
    X = np.random.default_rng(0).normal(size=(2, 6, 6, 4)).astype(np.float32)

    def run(self, features, stride, kind, binary=True):
        parts = Parts(siman(), siman_activations()) if binary else Parts()
        shortcut = Shortcut(features, stride, kind, parts)
        variables = shortcut.init(KEY, self.X, train=False, progress=0.0)
        return np.asarray(shortcut.apply(variables, self.X, train=False, progress=0.0)), variables

    @pytest.mark.parametrize("kind", ["pad", "conv", "binary_conv", "pool_conv"])
    def test_same_shape_is_the_identity_without_parameters(self, kind):
        out, variables = self.run(4, 1, kind)
        np.testing.assert_array_equal(out, self.X)
        assert not variables

    @pytest.mark.parametrize("features", [8, 7])
    def test_padding_subsamples_and_puts_zero_channels_on_both_sides(self, features):
        out, variables = self.run(features, 2, "pad")
        assert not variables
        np.testing.assert_array_equal(out[..., (features - 4) // 2 :][..., :4], self.X[:, ::2, ::2])
        assert np.abs(out).sum() == pytest.approx(np.abs(self.X[:, ::2, ::2]).sum(), rel=1e-6)

    def test_convolution_is_full_precision_at_stride_two(self):
        out, variables = self.run(8, 2, "conv")
        assert set(variables) == {"params", "batch_stats"}
        kernel = np.asarray(variables["params"]["conv"]["kernel"][0, 0], np.float64)
        np.testing.assert_allclose(out, self.X[:, ::2, ::2] @ kernel / np.sqrt(1 + 1e-5), 1e-5, 1e-5)

    def test_pooling_averages_two_by_two_before_the_convolution(self):
        out, variables = self.run(8, 2, "pool_conv")
        assert "memory" not in variables
        pooled = self.X.reshape(2, 3, 2, 3, 2, 4).mean((2, 4))
        kernel = np.asarray(variables["params"]["conv"]["kernel"][0, 0], np.float64)
        np.testing.assert_allclose(out, pooled @ kernel / np.sqrt(1 + 1e-5), 1e-5, 1e-5)

    def test_binary_convolution_remembers_a_code_and_is_full_precision_in_the_teacher(self):
        _, variables = self.run(8, 2, "binary_conv")
        assert set(variables["params"]["conv"]) == {"kernel", "scale"}
        _, teacher = self.run(8, 2, "binary_conv", binary=False)
        assert set(teacher["params"]["conv"]) == {"kernel"}
        assert "memory" not in teacher
