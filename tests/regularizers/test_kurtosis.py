"""Kurtosis: the released arrays, float64 definitions, and the hazards of constant weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.losses import Outputs
from bnn_jax.regularizers import kurtosis, kurtosis_term, weight_kurtosis
from bnn_jax.regularizers.kurtosis import targets_of
from tests.reference import bimodal as reference
from tests.reference.layouts import hwio

SHAPE = (3, 3, 16, 16)
NAMES = ["gauss", "unif", "heavy", "bimodal", "k1x1", "shifted"]


def outputs(params):
    return Outputs(jnp.zeros((1, 2)), jnp.zeros(1, jnp.int32), {}, params, 0.0)


@jax.jit
def descend(w, target):
    """Many small steps down the squared distance from the target, of a length that suits any distance."""

    def step(w, _):
        slope = jax.grad(lambda v: kurtosis(v, 0.0) ** 0.5)(w)
        far = weight_kurtosis(w) - target
        return w - 0.2 * jnp.clip(far, -1, 1) * slope / jnp.maximum(jnp.sum(slope**2), 1e-12), None

    return jax.lax.scan(step, w, None, 1000)[0]


class TestGolden:
    @pytest.mark.parametrize("name", NAMES)
    def test_every_tensor_and_target(self, golden, name):
        a = golden("bdbnn", "kurtosis_single")
        w = jnp.asarray(hwio(a[f"{name}_w"]))
        np.testing.assert_allclose(float(weight_kurtosis(w)), a[f"{name}_kurtosis"], 3e-6)
        for target, loss, grad in zip(a["targets"], a[f"{name}_loss"], a[f"{name}_grad_w"], strict=True):
            ours, slope = jax.value_and_grad(lambda v, t=float(target): kurtosis({"w": v}, t))(w)
            np.testing.assert_allclose(float(ours), loss, 3e-4, 1e-6)
            np.testing.assert_allclose(np.asarray(slope), hwio(grad), 3e-4, max(3e-4 * np.abs(grad).max(), 1e-6))

    def test_several_layers_and_reductions(self, golden):
        a = golden("bdbnn", "kurtosis_single")
        params = {name: jnp.asarray(hwio(a[f"{name}_w"])) for name in NAMES}
        losses = [a[f"{name}_loss"][2] for name in NAMES]  # target 1.4
        for reduction, wanted in (("mean", np.mean(losses)), ("sum", np.sum(losses)), ("max", np.max(losses))):
            np.testing.assert_allclose(float(kurtosis(params, 1.4, reduction=reduction)), wanted, 3e-4)
        grads = jax.grad(lambda p: kurtosis(p, 1.4, reduction="max"))(params)
        assert [name for name in NAMES if np.any(np.asarray(grads[name]))] == ["heavy"]


class TestStatistic:
    @pytest.mark.parametrize("shape", [(3, 3, 4, 5), (17, 2), (2, 1)], ids=str)
    def test_value_and_gradient_are_the_definition(self, shape):
        w = np.random.default_rng(0).normal(0.3, 0.05, shape).astype(np.float32)
        value, grad = jax.value_and_grad(weight_kurtosis)(jnp.asarray(w))
        np.testing.assert_allclose(float(value), reference.kurtosis(w), 1e-5)
        expected = reference.kurtosis_gradient(w)
        np.testing.assert_allclose(np.asarray(grad), expected, 1e-3, 2e-4 * max(np.abs(expected).max(), 1))

    def test_of_each_channel(self):
        w = np.random.default_rng(0).normal(size=(3, 3, 8, 5)).astype(np.float32)
        expected = [reference.kurtosis(w[..., c]) for c in range(5)]
        np.testing.assert_allclose(np.asarray(weight_kurtosis(jnp.asarray(w), per_channel=True)), expected, 1e-5)
        loss, grad = jax.value_and_grad(lambda v: kurtosis(v, 1.8, per_channel=True))(jnp.asarray(w))
        np.testing.assert_allclose(float(loss), np.mean([(k - 1.8) ** 2 for k in expected]), 1e-4)
        slopes = [2 * (k - 1.8) / 5 * reference.kurtosis_gradient(w[..., c]) for c, k in enumerate(expected)]
        np.testing.assert_allclose(np.asarray(grad), np.stack(slopes, -1), 1e-3, 1e-3 * np.abs(slopes).max())

    @pytest.mark.parametrize("value", [0.0, 0.1, -3.0, 1e-30])
    def test_a_constant_weight_adds_nothing(self, value, golden):
        w = jnp.full((3, 3, 64, 64), value)
        loss, grad = jax.value_and_grad(lambda v: kurtosis(v, 1.8))(w)
        assert float(loss) == 0
        np.testing.assert_array_equal(np.asarray(grad), 0)

    @pytest.mark.parametrize("wrong", [np.nan, np.inf])
    @pytest.mark.parametrize("reduction", ["mean", "max"])
    @pytest.mark.parametrize("per_channel", [False, True])
    def test_a_weight_that_is_not_finite_is_seen(self, wrong, reduction, per_channel):
        params = {name: jax.random.normal(jax.random.key(i), SHAPE) for i, name in enumerate("ab")}
        params["b"] = params["b"].at[0, 0, 0, 0].set(wrong)
        loss, grads = jax.value_and_grad(lambda p: kurtosis(p, reduction=reduction, per_channel=per_channel))(params)
        assert np.isnan(float(loss))
        assert np.isnan(np.asarray(grads["b"])[..., 0]).all()

    def test_the_released_hazard_is_finite(self, golden):
        w = jnp.asarray(hwio(golden("bdbnn", "kurtosis_single")["const_w"]))
        loss, grad = jax.value_and_grad(lambda v: kurtosis(v, 1.8))(w)
        assert float(loss) == 0
        np.testing.assert_array_equal(np.asarray(grad), 0)

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    def test_half_precision_is_measured_in_float32(self, dtype):
        w = (1000 * jax.random.normal(jax.random.key(0), (4096, 1))).astype(dtype)
        assert weight_kurtosis(w).dtype == jnp.float32
        np.testing.assert_allclose(float(weight_kurtosis(w)), reference.kurtosis(np.asarray(w, np.float64)), 1e-5)
        assert jax.grad(weight_kurtosis)(w).dtype == dtype

    @pytest.mark.parametrize("begin", ["heavy", "uniform"])
    def test_descent_reaches_the_target_and_less_is_lost_the_lower_it_is(self, begin):
        key = jax.random.key(1)
        w = {"heavy": jax.random.normal(key, SHAPE) ** 3, "uniform": jax.random.uniform(key, SHAPE, minval=-1.0)}[begin]
        w = w / jnp.std(w)
        lost = {}
        for target in (1.2, 1.8, 3.0):
            found = descend(w, target)
            assert abs(float(weight_kurtosis(found)) - target) < 0.05
            lost[target] = float(jnp.sum((found - jnp.mean(jnp.abs(found)) * jnp.sign(found)) ** 2) / jnp.sum(found**2))
        assert lost[1.2] < lost[1.8] < lost[3.0]

    def test_fewer_than_two_values_are_refused(self):
        with pytest.raises(ValueError, match=r"two or more values, found shape \(1, 3\)"):
            weight_kurtosis(jnp.ones((1, 3)), per_channel=True)
        for shape in ((), (1,), (0, 3)):
            with pytest.raises(ValueError, match=r"two or more values, found shape \("):
                weight_kurtosis(jnp.ones(shape))

    @pytest.mark.parametrize(
        ("shape", "per_channel", "found"),
        [((), False, r"'a/gain': \(\)"), ((1, 1), False, r"'a/gain': \(1, 1\)"), ((5,), True, r"'a/gain': \(5,\)")],
    )
    def test_a_chosen_weight_with_fewer_is_named_and_no_other(self, shape, per_channel, found):
        params = {"a": {"gain": jnp.ones(shape), "kernel": jnp.ones(SHAPE)}}
        with pytest.raises(ValueError, match=rf"found shapes \{{{found}\}}: leave these out"):
            kurtosis(params, where=".", per_channel=per_channel)


class TestChoice:
    PARAMS = {  # noqa: RUF012
        "stem_conv": {"kernel": jax.random.normal(jax.random.key(0), (3, 3, 3, 4))},
        "a": {"conv1": {"kernel": jax.random.normal(jax.random.key(1), (3, 3, 4, 4)), "scale": jnp.ones(4)}},
        "classifier": {"kernel": jax.random.uniform(jax.random.key(2), (4, 10)), "bias": jnp.zeros(10)},
    }

    def test_by_default_the_kernels_of_convolutions(self):
        both = [reference.kurtosis(self.PARAMS["stem_conv"]["kernel"]), reference.kurtosis(self.conv)]
        np.testing.assert_allclose(float(kurtosis(self.PARAMS, 2.0)), np.mean((np.asarray(both) - 2) ** 2), 1e-4)

    @property
    def conv(self):
        return self.PARAMS["a"]["conv1"]["kernel"]

    def test_rules_choose_and_skip(self):
        classifier = reference.kurtosis(self.PARAMS["classifier"]["kernel"])
        value = kurtosis(self.PARAMS, 1.0, where="kernel$", skip="conv")
        np.testing.assert_allclose(float(value), (classifier - 1) ** 2, 1e-4)

    @pytest.mark.parametrize(
        ("rules", "message"),
        [
            ({"where": "(("}, r"where = '\(\(' is no regular expression: missing"),
            ({"skip": "["}, r"skip = '\[' is no regular expression: unterminated"),
            ({"where": "kernels"}, r"where = 'kernels' matches none of the parameters.*'a/conv1/kernel'"),
            ({"skip": "^stem$"}, r"skip = '\^stem\$' matches none"),
            ({"skip": "kernel"}, r"skip = 'kernel' matches every one"),
            ({"reduction": "avg"}, r"unknown reduction 'avg'"),
            ({"target": "cifar"}, r"'cifar' leave out the first convolution: say in `skip`"),
            ({"target": {"conv1": 1.2}}, r"no rule .* matches \['stem_conv/kernel'\]"),
            ({"target": {"conv1": 1.2, "conv2": 1.3, "": 1.8}}, r"the rules \['conv2'\] .* match none"),
            ({"target": "cifra", "skip": "^stem"}, r"unknown targets 'cifra': expected a number or one of \['cifar'"),
            ({"target": (1.0, 2.0, 3.0)}, r"a target for each of the weights .* found 3"),
            ({"target": {"conv(": 1.2, "": 1.8}}, r"the rule 'conv\(' of the targets is no regular expression"),
            ({"target": None}, "expected a number for target, several, rules or the name of a list, found None"),
            ({"target": float("nan")}, "expected targets of 0 or more .* found nan"),
            ({"target": (1.4, -1.0)}, r"expected targets of 0 or more .* found -1\.0"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, rules, message):
        with pytest.raises(ValueError, match=message):
            kurtosis(self.PARAMS, **rules)

    @pytest.mark.parametrize("dtype", [jnp.int32, jnp.complex64])
    def test_weights_that_are_not_floating_point_are_refused(self, dtype):
        with pytest.raises(ValueError, match=f"expected floating-point weights, found {{'k': '{dtype.__name__}'}}"):
            kurtosis({"k": jnp.ones((3, 3, 2, 2), dtype)})

    def test_a_tree_without_kernels_is_refused(self):
        with pytest.raises(ValueError, match="none of the parameters has three or more dimensions"):
            kurtosis({"dense": jnp.ones((3, 3))})

    def test_the_term_leaves_out_the_first_convolution_and_knows_its_targets(self):
        term = kurtosis_term(2.0)
        expected = (reference.kurtosis(self.conv) - 2) ** 2
        np.testing.assert_allclose(float(term(outputs(self.PARAMS))), expected, 1e-4)
        assert term.targets(self.PARAMS) == {"a/conv1/kernel": 2.0}
        assert kurtosis_term(targets="cifar").targets(self.PARAMS) == {"a/conv1/kernel": 1.4}


# As the fact sheet groups them: stage 1 | 2 | 3 | 4 of ResNet-18, a shortcut third in the last three.
SHEET = {
    "cifar": [(1.4,) * 4, (1.4,) * 5, (1.4,) * 5, (1.8, 1.8, 1.8, 1.8, 2.2)],
    "imagenet": [
        (1.8, 1.4, 1.4, 1.4),
        (1.4, 1.2, 1.4, 1.2, 1.2),
        (1.4, 1.4, 1.4, 1.2, 1.2),
        (1.2, 1.2, 1.4, 1.0, 1.0),
    ],
    "teacher_student": [
        (1.8, 1.8, 1.8, 1.8),
        (1.8, 1.8, 1.4, 1.8, 1.8),
        (1.8, 1.4, 1.4, 1.4, 1.4),
        (1.8, 1.2, 1.4, 1.2, 1.2),
    ],
}


class TestTargets:
    @pytest.mark.parametrize("name", list(SHEET))
    def test_the_released_lists(self, name):
        paths = [f"stage{i}/{j}" for i, stage in enumerate(SHEET[name]) for j in range(len(stage))]
        assert list(targets_of(name, paths).values()) == [number for stage in SHEET[name] for number in stage]

    def test_smaller_networks_take_the_first_and_larger_ones_are_refused(self):
        assert targets_of("imagenet", ["a", "b"]) == {"a": 1.8, "b": 1.4}
        with pytest.raises(ValueError, match="19 numbers, for 20 weights"):
            targets_of("imagenet", [str(i) for i in range(20)])

    def test_of_rules_the_first_that_matches_counts(self):
        rules = {"shortcut": 3.0, "^stage1": 1.2, "": 1.8}
        found = targets_of(rules, ["stage1/conv", "stage1/shortcut", "stage2/conv"])
        assert found == {"stage1/conv": 1.2, "stage1/shortcut": 3.0, "stage2/conv": 1.8}

    def test_a_traced_target_is_one_for_all(self):
        w = {"k": jnp.asarray(np.random.default_rng(0).normal(size=(3, 3, 4, 4)), jnp.float32)}
        found = jax.jit(lambda target: kurtosis(w, target))(1.4)
        np.testing.assert_allclose(float(found), (reference.kurtosis(w["k"]) - 1.4) ** 2, 1e-4)

    @pytest.mark.parametrize("number", [1.2, np.float32(1.2), 2, np.array(1.2, np.float32), jnp.float32(1.2)])
    def test_any_number_is_one_for_all(self, number):
        assert targets_of(number, ["a", "b"]) == {"a": float(number), "b": float(number)}

    def test_the_term_takes_one_or_several_and_not_both(self):
        assert kurtosis_term().target == 1.8
        assert kurtosis_term(1.2).target == 1.2
        assert kurtosis_term(targets=(("conv", 1.2), ("", 1.8))).target == {"conv": 1.2, "": 1.8}
        assert kurtosis_term(targets=(1.2, 1.8)).target == (1.2, 1.8)
        with pytest.raises(ValueError, match=r"give target or targets, found target = 1\.2 and targets = 'cifar'"):
            kurtosis_term(1.2, "cifar")
