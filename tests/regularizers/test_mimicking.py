"""Weight mimicking: the released arrays, float64 definitions, and what a mismatch says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.losses import Outputs, Teacher
from bnn_jax.regularizers import mimicking_term, raw_weight_mimicking, weight_mimicking
from tests.reference import bimodal as reference
from tests.reference.layouts import hwio

AXES = {"inputs": (-2,), "filter": (0, 1, 2), "tensor": (0, 1, 2, 3)}


def released(arrays, prefix):
    """The tensors under this prefix, by name, in our layout."""
    found = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
    return {name: jnp.asarray(hwio(v) if v.ndim == 4 else v) for name, v in found.items()}


def weights(seed, shape=(3, 3, 4, 5)):
    return {"conv": {"kernel": jnp.asarray(np.random.default_rng(seed).normal(0, 2, shape), jnp.float32)}}


def close(actual, expected, rtol=3e-4):
    np.testing.assert_allclose(np.asarray(actual), expected, rtol, rtol * max(np.abs(expected).max(), 1e-12))


class TestGolden:
    @pytest.mark.parametrize("temperature", [4, 6])
    def test_of_softmaxed_weights(self, golden, temperature):
        a = golden("bdbnn", "wdm_layer_losses")
        student, teacher = released(a, "student/"), released(a, "teacher/")
        loss, grads = jax.value_and_grad(
            lambda s: weight_mimicking(s, teacher, temperature=temperature, skip=r"^module\.conv1\.")
        )(student)
        close(loss, a[f"cifar_act_T{temperature}_loss"])
        for name, grad in grads.items():
            wanted = a[f"cifar_act_T{temperature}_grad/{name}"]
            close(grad, hwio(wanted) if wanted.ndim == 4 else wanted)

    def test_the_raw_form(self, golden):
        a = golden("bdbnn", "wdm_layer_losses")
        student, teacher = released(a, "student/"), released(a, "teacher/")
        with pytest.warns(UserWarning, match="unbounded below"):
            loss, grads = jax.value_and_grad(
                lambda s: raw_weight_mimicking(s, teacher, skip=r"^module\.conv1\.|downsample")
            )(student)
        close(loss, a["imagenet_loss"])
        for name, grad in grads.items():
            wanted = a[f"imagenet_grad/{name}"]
            close(grad, hwio(wanted) if wanted.ndim == 4 else wanted)


class TestMimicking:
    @pytest.mark.parametrize("over", list(AXES))
    @pytest.mark.parametrize("reduction", ["elements", "distributions"])
    def test_every_distribution_and_reduction_is_its_definition(self, over, reduction):
        student, teacher = weights(0), weights(1)
        value = weight_mimicking(student, teacher, temperature=3.0, over=over, reduction=reduction)
        pair = (np.asarray(tree["conv"]["kernel"]) for tree in (student, teacher))
        expected = reference.mimicking(*pair, 3.0, AXES[over], per_distribution=reduction == "distributions")
        close(value, expected, 1e-5)

    def test_zero_with_zero_gradient_at_the_teacher_positive_elsewhere_and_nothing_flows_to_it(self):
        student, teacher = weights(0), weights(1)
        loss, (own, other) = jax.value_and_grad(weight_mimicking, argnums=(0, 1))(student, teacher)
        assert float(loss) > 0
        assert np.any(np.asarray(own["conv"]["kernel"]))
        np.testing.assert_array_equal(np.asarray(other["conv"]["kernel"]), 0)
        same, grad = jax.value_and_grad(weight_mimicking)(teacher, teacher)
        assert float(same) == 0
        np.testing.assert_allclose(np.asarray(grad["conv"]["kernel"]), 0, atol=1e-7)

    def test_tiny_weights_are_told_apart(self):
        # Almost uniform distributions: their divergence is a millionth.
        student, teacher = ({"conv": {"kernel": 0.02 * w["conv"]["kernel"]}} for w in (weights(0), weights(1)))
        pair = [np.asarray(tree["conv"]["kernel"]) for tree in (student, teacher)]
        close(weight_mimicking(student, teacher), reference.mimicking(*pair, 4.0, AXES["inputs"]), 1e-2)

    @pytest.mark.parametrize("reduction", ["elements", "distributions"])
    def test_close_to_the_teacher_the_value_is_the_distance_and_not_rounding(self, reduction):
        # Where a student begins that starts from its teacher's weights: 1 % away.
        rng = np.random.default_rng(0)
        teacher = rng.normal(0, 0.02, (3, 3, 64, 64)).astype(np.float32)
        student = (teacher + 2e-4 * rng.normal(size=teacher.shape)).astype(np.float32)
        value = weight_mimicking({"w": jnp.asarray(student)}, {"w": jnp.asarray(teacher)}, reduction=reduction)
        per_distribution = reduction == "distributions"
        close(value, reference.mimicking(student, teacher, 4.0, (2,), per_distribution=per_distribution), 1e-3)

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    def test_half_precision_is_compared_in_float32(self, dtype):
        student, teacher = (jax.tree.map(lambda w: w.astype(dtype), weights(seed)) for seed in (0, 1))
        pair = [np.asarray(tree["conv"]["kernel"], np.float64) for tree in (student, teacher)]
        value = weight_mimicking(student, teacher)
        assert value.dtype == jnp.float32
        close(value, reference.mimicking(*pair, 4.0, AXES["inputs"]), 1e-4)

    @pytest.mark.parametrize(
        ("teacher", "message"),
        [
            (weights(0, (1, 1, 4, 5)), r"conv/kernel has shape \(3, 3, 4, 5\) in the student, \(1, 1, 4, 5\)"),
            ({"konv": weights(0)["conv"]}, r"conv/kernel is the student's alone\n  konv/kernel is the teacher's alone"),
        ],
    )
    def test_a_mismatch_names_the_parameters(self, teacher, message):
        with pytest.raises(ValueError, match=message):
            weight_mimicking(weights(0), teacher)

    def test_a_rule_that_fails_the_teacher_says_whose_weights_these_are(self):
        student = {"stem": weights(0)["conv"], "a": weights(1)["conv"]}
        with pytest.raises(ValueError, match=r"chosen from the teacher's parameters: they are \['a/kernel', 'konv/k"):
            weight_mimicking(student, {"konv": weights(0)["conv"], "a": weights(1)["conv"]}, skip="^stem")

    @pytest.mark.parametrize("over", ["inputs", "filter"])
    def test_weights_without_inputs_have_distributions_only_as_a_whole(self, over):
        params = {**weights(0), "bias": jnp.arange(3.0)}
        with pytest.raises(ValueError, match=r'need 2 or more dimensions.*: bias \(3,\)\. .* or over="tensor"'):
            weight_mimicking(params, params, where=".", over=over)
        assert weight_mimicking(params, params, where=".", over="tensor") == 0.0
        params["temperature"] = jnp.ones(())
        with pytest.raises(ValueError, match=r"need 1 or more dimensions.*: temperature \(\)\. Choose others"):
            weight_mimicking(params, params, where=".", over="tensor")

    @pytest.mark.parametrize("wrong", [{"over": "output"}, {"reduction": "mean"}, {"temperature": 0.0}])
    def test_wrong_arguments_are_refused(self, wrong):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}"):
            weight_mimicking(weights(0), weights(1), **wrong)


class TestTerm:
    def outputs(self, teacher):
        stem = {"stem_conv": weights(9)["conv"]}
        seen = teacher and Teacher(jnp.zeros((1, 2)), {}, {**weights(1), "stem_conv": weights(8)["conv"]})
        return Outputs(jnp.zeros((1, 2)), jnp.zeros(1, jnp.int32), {}, {**weights(0), **stem}, 0.0, seen)

    def test_all_but_the_first_convolution(self):
        close(mimicking_term()(self.outputs(True)), weight_mimicking(weights(0), weights(1)), 1e-6)

    def test_the_raw_form_warns(self):
        with pytest.warns(UserWarning, match="unbounded below"):
            mimicking_term(form="raw")(self.outputs(True))

    def test_no_teacher_and_an_unknown_form_are_refused(self):
        with pytest.raises(ValueError, match="weight mimicking needs a teacher"):
            mimicking_term()(self.outputs(None))
        with pytest.raises(ValueError, match="unknown form 'kl'"):
            mimicking_term(form="kl")
