"""Distillation of logits: the released arrays, and what it must refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.losses import Outputs, Teacher
from bnn_jax.regularizers import distillation_term, kl_divergence, soft_cross_entropy
from tests.reference import bimodal as reference


def close(actual, expected, rtol=3e-5):
    np.testing.assert_allclose(np.asarray(actual), expected, rtol, rtol * np.abs(expected).max())


def check(function, a, loss, grad, student="stud", teacher="teach"):
    value, slope = jax.value_and_grad(function)(jnp.asarray(a[student]), jnp.asarray(a[teacher]))
    close(value, a[loss])
    close(slope, a[grad])


class TestGolden:
    def test_soft_cross_entropy(self, golden):
        check(soft_cross_entropy, golden("bdbnn", "logit_losses"), "dist_loss", "dist_grad")
        a = golden("rebnn", "distribution_loss")
        check(soft_cross_entropy, a, "loss", "gstudent", "student_logits", "teacher_logits")

    @pytest.mark.parametrize("temperature", [1, 4, 6])
    def test_divergence_over_all_elements(self, golden, temperature):
        def function(student, teacher):
            return kl_divergence(student, teacher, temperature, "elements")

        a, name = golden("bdbnn", "logit_losses"), f"loss_kd_T{temperature}"
        check(function, a, name, f"{name}_grad")


class TestDistillation:
    STUDENT, TEACHER = (jax.random.normal(jax.random.key(i), (4, 7)) for i in range(2))

    def test_by_default_the_mean_over_the_batch(self):
        elements = kl_divergence(self.STUDENT, self.TEACHER, 2.0, "elements")
        close(kl_divergence(self.STUDENT, self.TEACHER, 2.0), 7 * np.asarray(elements))

    def test_both_have_the_same_gradient_at_temperature_1_and_none_flows_to_the_teacher(self):
        own, other = jax.grad(soft_cross_entropy, (0, 1))(self.STUDENT, self.TEACHER)
        close(own, np.asarray(jax.grad(lambda s: kl_divergence(s, self.TEACHER, 1.0))(self.STUDENT)))
        np.testing.assert_array_equal(np.asarray(other), 0)

    @pytest.mark.parametrize("reduction", ["batch", "elements"])
    def test_logits_close_to_the_teachers_have_a_small_divergence_and_not_rounding(self, reduction):
        rng = np.random.default_rng(0)
        for _ in range(10):
            teacher = rng.normal(size=(8, 10)).astype(np.float32)
            student = (teacher + 1e-4 * rng.normal(size=teacher.shape)).astype(np.float32)
            parts = 16 * reference.divergence_parts(student / 4.0, teacher / 4.0, -1)
            wanted = parts.mean() if reduction == "elements" else parts.sum(-1).mean()
            close(kl_divergence(jnp.asarray(student), jnp.asarray(teacher), reduction=reduction), wanted, 1e-2)

    def test_half_precision_and_large_logits_stay_finite(self):
        student, teacher = (1e4 * logits.astype(jnp.bfloat16) for logits in (self.STUDENT, self.TEACHER))
        for function in (soft_cross_entropy, kl_divergence):
            value, grad = jax.value_and_grad(function)(student, teacher)
            assert value.dtype == jnp.float32
            assert np.isfinite(np.asarray(grad, np.float32)).all()

    def test_wrong_arguments_are_refused(self):
        with pytest.raises(ValueError, match=r"found \(4, 7\) of the student, \(4, 6\) of the teacher"):
            soft_cross_entropy(self.STUDENT, self.TEACHER[:, :6])
        with pytest.raises(ValueError, match="temperature must be positive"):
            kl_divergence(self.STUDENT, self.TEACHER, 0.0)
        with pytest.raises(ValueError, match="unknown reduction 'mean'"):
            kl_divergence(self.STUDENT, self.TEACHER, reduction="mean")

    def test_the_term(self):
        outputs = Outputs(self.STUDENT, jnp.zeros(4, jnp.int32), {}, {}, 0.0, Teacher(self.TEACHER, {}, {}))
        close(distillation_term()(outputs), np.asarray(soft_cross_entropy(self.STUDENT, self.TEACHER)))
        close(distillation_term("kl", 3.0)(outputs), np.asarray(kl_divergence(self.STUDENT, self.TEACHER, 3.0)))
        with pytest.raises(ValueError, match="distillation needs a teacher"):
            distillation_term()(outputs._replace(teacher=None))
        with pytest.raises(ValueError, match="unknown kind 'mse'"):
            distillation_term("mse")
        for option in ({"temperature": 2.0}, {"reduction": "elements"}):
            with pytest.raises(ValueError, match="options of kind 'kl', and would do nothing in 'soft_cross_entropy'"):
                distillation_term(**option)
