"""Batch normalization against float64 NumPy, whole and split over a mapped axis."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.layers import BatchNorm
from bnn_jax.ops.batch_norm import batch_norm
from tests.reference import layers as reference
from tests.test_layers import KEY, close, normal


class TestBatchNorm:
    PARAMS = {"scale": normal((3,), 5) + 2, "bias": normal((3,), 6)}  # noqa: RUF012
    STATS = {"mean": normal((3,), 7), "var": np.abs(normal((3,), 8)) + 0.5}  # noqa: RUF012

    def variables(self):
        return {"params": self.PARAMS, "batch_stats": self.STATS}

    @pytest.mark.parametrize("shape", [(8, 4, 4, 3), (8, 3), (2, 3)])
    def test_training_is_that_of_the_equations_forward_and_backward(self, shape):
        x, cotangent = 3 * normal(shape) + 1, normal(shape, 1)

        def apply(v, params):
            return BatchNorm().apply({**self.variables(), "params": params}, v, train=True, mutable=["batch_stats"])

        out, vjp, moved = jax.vjp(apply, x, self.PARAMS, has_aux=True)
        expected, mean, unbiased = reference.batch_norm(x, self.PARAMS["scale"], self.PARAMS["bias"])
        close(out, expected)
        close(moved["batch_stats"]["mean"], 0.9 * self.STATS["mean"] + 0.1 * mean)
        close(moved["batch_stats"]["var"], 0.9 * self.STATS["var"] + 0.1 * unbiased)
        gx, g = vjp(cotangent)
        for actual, right in zip(
            (gx, g["scale"], g["bias"]),
            reference.batch_norm_vjp(x, self.PARAMS["scale"], cotangent),
            strict=True,
        ):
            close(actual, right, 2e-5, 1e-4)

    def test_evaluation_uses_running_statistics_and_leaves_them(self):
        x = 3 * normal((8, 4, 4, 3))
        out, kept = BatchNorm().apply(self.variables(), x, mutable=["batch_stats"])
        deviation = np.sqrt(self.STATS["var"].astype(np.float64) + 1e-5)
        close(out, (x - self.STATS["mean"]) / deviation * self.PARAMS["scale"] + self.PARAMS["bias"])
        chex.assert_trees_all_equal(kept["batch_stats"], self.STATS)

    def test_running_variance_is_unbiased_unlike_flax(self):
        x = normal((2, 3))
        _, ours = BatchNorm(momentum=0.0).apply(self.variables(), x, train=True, mutable=["batch_stats"])
        _, theirs = nn.BatchNorm(False, momentum=0.0).apply(self.variables(), x, mutable=["batch_stats"])
        close(ours["batch_stats"]["var"], 2 * np.asarray(theirs["batch_stats"]["var"], np.float64))
        close(ours["batch_stats"]["mean"], np.asarray(theirs["batch_stats"]["mean"], np.float64))

    @pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
    def test_wider_parameters_widen_neither_the_result_nor_its_gradients(self, dtype):
        with jax.enable_x64(True):
            x, wide = jnp.asarray(normal((8, 4, 4, 3)), dtype), jnp.asarray(self.PARAMS["scale"], jnp.float64)
            out, vjp = jax.vjp(lambda x, scale, bias: batch_norm(x, scale, bias, epsilon=1e-5)[0], x, wide, wide)
            gradients = vjp(jnp.ones_like(out))
        assert [out.dtype, *(g.dtype for g in gradients)] == [x.dtype, x.dtype, wide.dtype, wide.dtype]
        expected = reference.batch_norm(np.asarray(x, np.float64), np.asarray(wide), np.asarray(wide))[0]
        close(out.astype(jnp.float32), expected, *((2e-2, 2e-2) if dtype == "bfloat16" else (2e-5, 1e-5)))

    @pytest.mark.parametrize("ways", [1, 2, 4])
    def test_a_split_batch_gives_the_same_result_and_gradients_as_the_whole(self, ways):
        x, cotangent = 3 * normal((8, 4, 4, 3)) + 1, normal((8, 4, 4, 3), 1)
        split = lambda v: v.reshape(ways, 8 // ways, *v.shape[1:])  # noqa: E731

        def apply(axis_name, v, params):
            variables = {**self.variables(), "params": params}
            return BatchNorm(axis_name).apply(variables, v, train=True, mutable=["batch_stats"])

        whole, vjp, stats = jax.vjp(lambda v, p: apply(None, v, p), x, self.PARAMS, has_aux=True)
        gx, g = vjp(cotangent)

        def shard(v, c):  # gradients taken inside, as the train step does, then summed over the shards
            out, vjp, moved = jax.vjp(lambda v, p: apply("batch", v, p), v, self.PARAMS, has_aux=True)
            g_v, g_params = vjp(c)
            return out, g_v, jax.lax.psum(g_params, "batch"), moved

        out, g_v, g_params, moved = jax.vmap(shard, axis_name="batch")(split(x), split(cotangent))
        close(out.reshape(x.shape), np.asarray(whole), 1e-5, 1e-5)
        close(g_v.reshape(x.shape), np.asarray(gx), 1e-5, 1e-5)
        for actual, right in zip(jax.tree.leaves((g_params, moved)), jax.tree.leaves((g, stats)), strict=True):
            for copy in actual:
                close(copy, np.asarray(right), 1e-5, 1e-5)

    def test_a_mean_far_from_zero_does_not_cancel_the_variance(self):
        x = 1000 + normal((64, 4, 4, 3))
        out = BatchNorm().apply(self.variables(), x, train=True)
        expected, _, _ = reference.batch_norm(x, self.PARAMS["scale"], self.PARAMS["bias"])
        close(out, expected, 1e-3, 1e-3)

    @pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
    def test_a_constant_map_and_a_batch_of_one_are_finite(self, value):
        for x in (jnp.full((4, 3, 3, 3), value), jnp.full((1, 3), value)):

            def loss(v, x=x):
                params, cotangent = self.PARAMS, normal(x.shape)
                out, moved = BatchNorm().apply(
                    {**self.variables(), "params": params}, v, train=True, mutable=["batch_stats"]
                )
                return (out * cotangent).sum(), moved

            (value_, moved), g = jax.value_and_grad(loss, has_aux=True)(x)
            for leaf in jax.tree.leaves((value_, moved, g)):
                assert np.isfinite(np.asarray(leaf)).all()

    def test_half_precision_inputs_have_float32_statistics(self):
        x = jnp.asarray(100 + normal((64, 4, 4, 3)), jnp.bfloat16)
        out, moved = BatchNorm().apply(self.variables(), x, train=True, mutable=["batch_stats"])
        assert out.dtype == jnp.bfloat16
        wide = np.asarray(x, np.float64)
        close(moved["batch_stats"]["mean"], 0.9 * self.STATS["mean"] + 0.1 * wide.mean((0, 1, 2)))
        expected, _, _ = reference.batch_norm(wide, self.PARAMS["scale"], self.PARAMS["bias"])
        close(out, expected, 1e-2, 1e-2)

    def test_initial_scale_is_an_option_and_initializing_leaves_the_statistics(self):
        variables = BatchNorm(scale_init=1e-8).init(KEY, 5 + normal((8, 3)), train=True)
        np.testing.assert_array_equal(np.asarray(variables["params"]["scale"]), np.float32(1e-8))
        np.testing.assert_array_equal(np.asarray(variables["batch_stats"]["mean"]), 0)
        np.testing.assert_array_equal(np.asarray(variables["batch_stats"]["var"]), 1)
