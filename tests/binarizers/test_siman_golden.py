"""SiMaN's layer against arrays which the authors' released code made."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bnn_jax.binarizers import siman, siman_activations
from bnn_jax.binarizers.siman import magnitudes, project
from bnn_jax.layers import BinaryConv
from bnn_jax.ops import order
from bnn_jax.ops.standardize import standardize
from tests.reference import siman as reference
from tests.reference.layers import conv, conv_vjp
from tests.reference.layouts import hwio, nhwc
from tests.reference.ste import sign

RTOL, ATOL = 2e-5, 2e-6
GEOMETRIES = ["k3s1p1_pct0", "k3s2p1_pct15", "k3_odd27_pct15"]
# The suffix of a file names the released rule which made it; without ties all three give the same code.
CONV = [(name, rule) for name in GEOMETRIES for rule in ("median", "half")]
CONV += [(f"{name}_quick", rule) for name in GEOMETRIES for rule in ("half", "median")]
CONV += [("ties_zeros", "median")]
conv_cases = pytest.mark.parametrize(("name", "rule"), CONV)


def close(actual, expected, **kwargs):
    np.testing.assert_allclose(np.asarray(actual, np.float64), expected, RTOL, ATOL, **kwargs)


def close_sums(actual, expected, **kwargs):
    """For long sums which cancel: a float32 one, the released one too, is right to the rounding of the largest."""
    atol = max(ATOL, 2**-23 * np.abs(expected).max())
    np.testing.assert_allclose(np.asarray(actual, np.float64), expected, RTOL, atol, **kwargs)


class Case:
    """One golden convolution, channels last, and the layer which should reproduce it."""

    def __init__(self, arrays, rule):
        self.x, self.x_eval = nhwc(arrays["x"]), nhwc(arrays["x_eval"])
        self.out, self.out_eval, self.gout = (nhwc(arrays[k]) for k in ("out", "out_eval", "gout"))
        self.w_in, self.w_after, self.w_std = (hwio(arrays[k]) for k in ("w_in", "w_after", "w_std"))
        self.scale, self.code = arrays["alpha"].ravel(), hwio(arrays["B"])
        self.q, self.stride, self.padding = (arrays[k].item() for k in ("percent", "stride", "padding"))
        self.layer = BinaryConv(
            self.scale.size,
            weights=siman(rule),
            activations=siman_activations(),
            kernel_size=self.w_in.shape[:2],
            strides=(self.stride,) * 2,
            padding=(self.padding,) * 2,
        )
        self.memory = {"memory": {"binarizer": self.layer.weights.init_memory(self.w_in)}}

    def train(self, x, kernel, scale):
        variables = {"params": {"kernel": kernel, "scale": scale}, **self.memory}
        return self.layer.apply(variables, x, train=True, mutable=["memory"])

    def numpy(self, function, *args):
        return function(self.x, self.w_after, self.scale, self.code, *args, (self.stride,) * 2, (self.padding,) * 2)


class TestConvolution:
    @conv_cases
    def test_forward_code_and_evaluation_are_those_of_the_release(self, golden, name, rule):
        arrays = golden("siman", f"conv_{name}")
        case = Case(arrays, rule)
        projected = project(jnp.asarray(case.w_in), case.q)
        close(projected, case.w_after)
        out, moved = case.train(case.x, projected, case.scale)
        close(out, case.out)
        stored = moved["memory"]["binarizer"]["code"]
        assert stored.dtype == jnp.int8
        np.testing.assert_array_equal(stored, 2 * case.code - 1)
        # Released evaluation: the stored code stays whatever happens to the latent weight.
        noisy = case.w_after + np.random.default_rng(0).normal(0, 0.3, case.w_after.shape).astype(np.float32)
        variables = {"params": {"kernel": noisy, "scale": case.scale}, **moved}
        close(case.layer.apply(variables, case.x_eval), case.out_eval)

    @conv_cases
    def test_gradients_are_those_of_the_release(self, golden, name, rule):
        arrays = golden("siman", f"conv_{name}")
        case = Case(arrays, rule)
        _, vjp, _ = jax.vjp(case.train, case.x, case.w_after, case.scale, has_aux=True)
        gx, gw, g_scale = vjp(case.gout)
        close(gx, nhwc(arrays["gx"]))
        close_sums(gw, hwio(arrays["gw"]))
        close(g_scale, arrays["galpha"].ravel())

    @pytest.mark.parametrize("name", [*GEOMETRIES, "ties_zeros", "ties_zeros_quick"])
    def test_statistics_are_those_of_the_release(self, golden, name):
        arrays = golden("siman", f"conv_{name}")
        case = Case(arrays, "half")
        size = jnp.abs(case.w_in - case.w_in.mean((0, 1, 2), keepdims=True)).reshape(-1, case.w_in.shape[-1])
        bounds = order.percentiles(size, jnp.array([case.q, 100 - case.q]))
        close(bounds, [arrays["clip_L"], arrays["clip_H"]])
        close(standardize(jnp.asarray(case.w_after), (0, 1, 2), 1e-5), case.w_std)
        close(magnitudes(jnp.asarray(case.w_after)), np.abs(case.w_std))
        close(standardize(jnp.asarray(case.x), (1, 2, 3), 1e-5), nhwc(arrays["a_std"]))

    def test_with_ties_the_released_sort_is_matched_in_all_that_does_not_depend_on_their_order(self, golden):
        arrays = golden("siman", "conv_ties_zeros_quick")
        case = Case(arrays, "half")
        close(project(jnp.asarray(case.w_in), case.q), case.w_after)
        _, moved = case.train(case.x, case.w_after, case.scale)
        ones = np.asarray(moved["memory"]["binarizer"]["code"]) == 1
        np.testing.assert_array_equal(ones.sum((0, 1, 2)), case.code.sum((0, 1, 2)))
        size = np.abs(case.w_std)
        # Same magnitudes chosen, whichever of those tied.
        for f in range(size.shape[-1]):
            np.testing.assert_array_equal(
                np.sort(size[..., f][ones[..., f]]), np.sort(size[..., f][case.code[..., f] == 1])
            )
        # With the code that the release happened to choose, all the rest is the same.
        close(case.numpy(reference.layer), case.out)
        variables = {
            "params": {"kernel": case.w_after, "scale": case.scale},
            "memory": {"binarizer": {"code": (2 * case.code - 1).astype(np.int8)}},
        }
        close(case.layer.apply(variables, case.x), case.out)
        close(case.layer.apply(variables, case.x_eval), case.out_eval)

        def out(x, scale):
            params = {"kernel": case.w_after, "scale": scale}
            return case.layer.apply({**variables, "params": params}, x)

        gx, g_scale = jax.vjp(out, case.x, case.scale)[1](case.gout)
        close(gx, nhwc(arrays["gx"]))
        close(g_scale, arrays["galpha"].ravel())

    def test_released_median_rule_gives_fewer_ones_under_ties_and_none_for_a_filter_of_zeros(self, golden):
        case = Case(golden("siman", "conv_ties_zeros"), "median")
        ones = siman("median").init_memory(case.w_after)["code"] == 1
        np.testing.assert_array_equal(ones.sum((0, 1, 2)), [0, 15, 14, 17])

    @pytest.mark.parametrize("name", [*GEOMETRIES, "ties_zeros", "ties_zeros_quick"])
    def test_the_float64_reference_itself_reproduces_the_release(self, golden, name):
        arrays = golden("siman", f"conv_{name}")
        case = Case(arrays, "half")
        gx, gw, g_scale = case.numpy(reference.layer_vjp, case.gout)
        pairs = {
            "w_after": (reference.project(case.w_in, case.q), case.w_after),
            "bounds": (reference.percentile_bounds(case.w_in, case.q), [arrays["clip_L"], arrays["clip_H"]]),
            "out": (case.numpy(reference.layer), case.out),
            "gx": (gx, nhwc(arrays["gx"])),
            "gw": (gw, hwio(arrays["gw"])),
            "galpha": (g_scale, arrays["galpha"].ravel()),
        }
        for key, (actual, expected) in pairs.items():
            # Float32 against float64: accurate to the rounding of the largest entry.
            np.testing.assert_allclose(actual, expected, 0, 5e-7 * np.abs(expected).max(), err_msg=key)
        if "ties" not in name:
            np.testing.assert_array_equal(reference.half_code(np.abs(case.w_std)), case.code == 1)
        if name == "ties_zeros":
            np.testing.assert_array_equal(reference.median_code(np.abs(case.w_std)), case.code == 1)


class Trajectory:
    """The golden run: 4 steps of SGD, learning rate 0.1, momentum 0.9, on mean((out - target)^2).

    In the file all of w0 ... w4 hold the weight after the last update, all of alpha0 ... alpha4 its scale.
    The scales before follow exactly from the last and the gradients. So does the first weight, as the one
    point with the gradient gw0, up to the mean of each filter, which the next projection takes away anyway.
    """

    def __init__(self, arrays):
        self.x, self.target = ([nhwc(arrays[f"{k}{t}"]) for t in range(4)] for k in ("x", "target"))
        self.code, self.gw = ([hwio(arrays[f"{k}{t}"]) for t in range(4)] for k in ("B", "gw"))
        self.loss, self.percent = ([arrays[f"{k}{t}"].item() for t in range(4)] for k in ("loss", "percent"))
        self.g_scale = [arrays[f"galpha{t}"].ravel() for t in range(4)]
        self.w_last, scale = hwio(arrays["w4"]), arrays["alpha4"].ravel().astype(np.float64)
        self.scale = [scale]
        for moved in reversed(self.momentum(self.g_scale)):
            self.scale.insert(0, self.scale[0] + 0.1 * moved)

    @staticmethod
    def momentum(grads):
        """What the optimizer adds up: m_t = 0.9 m_(t-1) + g_t."""
        moved = [np.asarray(grads[0], np.float64)]
        for g in grads[1:]:
            moved.append(0.9 * moved[-1] + g)
        return moved

    def binary_gradient(self, t):
        """Loss of step t and its gradients with respect to binary weight and scale, from the code."""
        xb = sign(reference.standardize(self.x[t], (1, 2, 3)))
        plain = conv(xb, 2 * self.code[t] - 1)
        error = plain * self.scale[t] - self.target[t]
        g = 2 * error / error.size
        return np.mean(error**2), conv_vjp(xb, self.code[t], g * self.scale[t])[1], (g * plain).sum((0, 1, 2))

    def first_weight(self):
        """The projected weight of step 0, centered. Its signs are those of w4, undoing the updates."""
        before = self.w_last + 0.1 * sum(self.momentum(self.gw))
        signs = np.sign(before - before.mean((0, 1, 2)))
        c = reference.weight_from_gradient(self.gw[0], self.binary_gradient(0)[1], signs)
        return c.reshape(self.w_last.shape)


class TestTrajectory:
    def test_losses_and_gradients_of_the_scale_follow_from_the_codes_of_the_release(self, golden):
        run = Trajectory(golden("siman", "trajectory_sgd4"))
        np.testing.assert_allclose(run.scale[0], 0.1, 2e-6)  # so round a number that it must be right
        for t in range(4):
            loss, _, g_scale = run.binary_gradient(t)
            np.testing.assert_allclose(loss, run.loss[t], 1e-6)
            np.testing.assert_allclose(g_scale, run.g_scale[t], 2e-6, 1e-6)

    @pytest.mark.parametrize("rule", ["half", "median"])
    def test_four_steps_of_sgd_with_momentum_are_those_of_the_release(self, golden, rule):
        run = Trajectory(golden("siman", "trajectory_sgd4"))
        binarizer, optimizer = siman(rule), optax.sgd(0.1, momentum=0.9)
        layer = BinaryConv(4, weights=binarizer, activations=siman_activations())

        def loss(params, memory, x, target):
            variables = {"params": params, "memory": memory}
            out, moved = layer.apply(variables, x, train=True, mutable=["memory"])
            return jnp.mean(jnp.square(out - target)), moved["memory"]

        @jax.jit
        def step(params, memory, state, x, target):
            (value, memory), grads = jax.value_and_grad(loss, has_aux=True)(params, memory, x, target)
            updates, state = optimizer.update(grads, state)
            return optax.apply_updates(params, updates), memory, state, value, grads

        as_jax = lambda v: jnp.asarray(v, jnp.float32)  # noqa: E731
        params = {"kernel": as_jax(run.first_weight()), "scale": as_jax(run.scale[0])}
        memory = {"binarizer": binarizer.init_memory(params["kernel"])}
        state = optimizer.init(params)
        for t in range(4):
            assert run.percent[t] == 15 * (1 - t / 4)
            if t > 0:  # the first weight is projected already
                params["kernel"] = binarizer.project(params["kernel"], progress=t / 4)
            params, memory, state, value, grads = step(params, memory, state, run.x[t], run.target[t])
            close(value, run.loss[t], err_msg=f"loss{t}")
            np.testing.assert_array_equal(memory["binarizer"]["code"], 2 * run.code[t] - 1)
            close(grads["kernel"], run.gw[t], err_msg=f"gw{t}")
            close(grads["scale"], run.g_scale[t], err_msg=f"galpha{t}")
            close(params["scale"], run.scale[t + 1], err_msg=f"alpha{t + 1}")
        close(params["kernel"], run.w_last, err_msg="w4")


class TestInitialization:
    def test_scale_from_the_weights_is_the_mean_magnitude_of_each_filter(self, golden):
        arrays = golden("siman", "init_relations")
        scale = siman(scale_init="weights").init_params(hwio(arrays["weight"]))["scale"]
        close(scale, arrays["alpha"].ravel())

    def test_default_scale_is_what_the_released_constructor_gives_in_expectation(self, golden):
        arrays = golden("siman", "init_relations")
        scale = siman().init_params(hwio(arrays["weight"]))["scale"]
        np.testing.assert_allclose(np.asarray(scale), 0.5 / 72**0.5, 1e-6)
        # 72 draws from U(0, 1 / sqrt(72)) per filter: 3 standard errors of the mean over 16 filters.
        assert abs(arrays["alpha"].mean() - scale.mean()) < 3 * 72**-0.5 / 12**0.5 / (72 * 16) ** 0.5

    def test_released_constructor_codes_signs_but_ours_starts_with_the_half_code(self, golden):
        # The released B after construction is (sign w + 1) / 2, and the first training forward replaces it.
        # Ours is the code of the initial weights from the start, so that an untrained network is SiMaN too.
        arrays = golden("siman", "init_relations")
        weight = hwio(arrays["weight"])
        signs = (np.sign(weight) + 1) / 2
        np.testing.assert_array_equal(hwio(arrays["B"].reshape(arrays["weight"].shape)), signs)
        code = np.asarray(siman().init_memory(weight)["code"])
        np.testing.assert_array_equal((code == 1).sum((0, 1, 2)), 36)
        size = np.abs(reference.standardize(weight, (0, 1, 2)))
        np.testing.assert_array_equal(code == 1, reference.half_code(size))
        assert (code != 2 * signs - 1).any()


class TestSchedule:
    @pytest.mark.parametrize(("key", "epochs"), [("cifar", 400), ("imagenet", 150)])
    def test_percentile_of_every_epoch_is_that_of_the_release(self, golden, key, epochs):
        expected = golden("siman", "schedules")[f"{key}_percent_per_epoch"]
        assert expected.shape == (epochs,)
        w = jnp.asarray(np.random.default_rng(0).laplace(size=(50, 4)), jnp.float32)
        progress = jnp.arange(epochs, dtype=jnp.float32) / epochs
        actual = jax.jit(jax.vmap(lambda p: siman().project(w, progress=p)))(progress)
        size = np.abs(np.asarray(w, np.float64) - np.asarray(w, np.float64).mean(0))
        low, high = np.percentile(size, expected), np.percentile(size, 100 - expected)
        close(np.abs(actual).min((1, 2)), low)
        close(np.abs(actual).max((1, 2)), high)

    @pytest.mark.parametrize("first", [0.0, 5.0, 15.0])
    def test_first_percentile_is_an_option(self, first):
        w = np.random.default_rng(0).laplace(size=(50, 4)).astype(np.float32)
        for progress in (0.0, 0.5):
            actual = siman(initial_percentile=first).project(jnp.asarray(w), progress=progress)
            close(actual, reference.project(w, first * (1 - progress)))
