"""The divergence of softmaxes in float64, from almost the same to almost disjoint."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from jax.test_util import check_grads

from bnn_jax.ops.divergence import softmax_divergence
from tests.reference import bimodal as reference

BOTH = jax.jit(jax.value_and_grad(lambda s, t: softmax_divergence(s, t, (-1,)).sum()))
LOGITS = arrays.arrays(np.float32, (3, 6), elements=st.floats(-30, 30, width=32))


def pair(distance, shape=(64, 64), seed=0):
    rng = np.random.default_rng(seed)
    teacher = rng.normal(0, 0.01, shape).astype(np.float32)
    return (teacher + 0.01 * distance * rng.normal(size=shape)).astype(np.float32), teacher


@pytest.mark.parametrize("distance", [1e-3, 1e-2, 0.1, 1.0, 300.0])
def test_value_and_gradient_at_any_distance(distance):
    student, teacher = pair(distance)
    value, grad = BOTH(student, teacher)
    # What a logarithm of a probability, about -4, is rounded to beside the distance.
    rounding = 1e-5 / min(distance, 10)
    np.testing.assert_allclose(float(value), reference.divergence_parts(student, teacher, -1).sum(), rounding)
    expected = reference.divergence_gradient(student, teacher, -1)
    assert np.linalg.norm(np.asarray(grad) - expected) <= 3 * rounding * np.linalg.norm(expected)


@given(LOGITS, LOGITS, st.sampled_from([0.0, 1e-8, 1e-6, 1e-4, 1e-2, 1.0]))
def test_it_is_never_negative_and_zero_of_the_same(teacher, direction, distance):
    student = teacher + np.float32(distance) * direction
    each = np.asarray(softmax_divergence(jnp.asarray(student), jnp.asarray(teacher), (-1,)))
    assert (each >= 0).all()
    if (student == teacher).all():
        assert not each.any()


@pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
def test_far_apart_it_is_finite_and_so_is_its_gradient(size):
    teacher = np.float32([[1, 0, 0.5], [0, 0.99, 1], [0, 0, 0]]) * np.float32(size)
    student = np.float32([[0, 1, 0.5], [1, 0, 0], [0, 1, 0]]) * np.float32(size)
    value, grad = BOTH(student, teacher)
    np.testing.assert_allclose(float(value), reference.divergence_parts(student, teacher, -1).sum(), 1e-5)
    np.testing.assert_allclose(np.asarray(grad), reference.divergence_gradient(student, teacher, -1), 1e-5, 1e-6)


def test_a_distribution_may_run_over_several_axes_and_others_over_others():
    student, teacher = pair(300.0, (3, 3, 4, 5))
    for axes in ((2,), (0, 1, 2), (0, 1, 2, 3)):
        found = softmax_divergence(jnp.asarray(student), jnp.asarray(teacher), axes)
        np.testing.assert_allclose(found, reference.divergence_parts(student, teacher, axes).sum(axes), 1e-4)


def test_in_float64_both_branches_and_both_modes():
    with jax.enable_x64(True):
        # From log-ratios of 0 past those where the series ends.
        student, teacher = (jnp.asarray(np.float64(x)) for x in pair(60.0))
        each = softmax_divergence(student, teacher, (-1,))
        np.testing.assert_allclose(each, reference.divergence_parts(student, teacher, -1).sum(-1), 1e-12)
        rows = student[:2, :5]
        check_grads(jax.jit(lambda s: softmax_divergence(s, teacher[:2, :5], (-1,))), (rows,), order=1, rtol=1e-6)


def test_the_teacher_is_a_constant():
    student, teacher = pair(1.0)
    grad = jax.grad(lambda t: softmax_divergence(jnp.asarray(student), t, (-1,)).sum())(jnp.asarray(teacher))
    assert not np.asarray(grad).any()
