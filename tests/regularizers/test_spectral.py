"""Retention matrices and their norms, against the released code's arrays, float64 NumPy and the exact norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bnn_jax import regularizers
from bnn_jax.regularizers import adaptive_avg_pool, exact_norm, power_iteration_norm, retention_matrix, retention_norm
from tests.reference.layouts import nhwc


def close(actual, expected, rtol=1e-4):
    np.testing.assert_allclose(np.asarray(actual, np.float64), expected, rtol, rtol * np.abs(expected).max())


def maps(seed=0, batch=3, size=8, channels=(5, 7), positive=True):
    rng = np.random.default_rng(seed)
    a, b = (
        rng.normal(size=(batch, size, size, channels[0])),
        rng.normal(size=(batch, size // 2, size // 2, channels[1])),
    )
    return [jnp.asarray(np.abs(m) if positive else m, jnp.float32) for m in (a, b)]


VALUE_AND_GRAD = jax.jit(jax.value_and_grad(lambda m, n: power_iteration_norm(m, n).sum()), static_argnums=1)


class TestGolden:
    @pytest.mark.parametrize("name", ["same", "pool2", "pool_nondiv", "to1", "nonsq"])
    def test_retention_matrix_and_its_gradients(self, golden, name):
        arrays_ = golden("lcr", "retention_matrix")
        a, b = (jnp.asarray(nhwc(arrays_[f"{name}_fm{i}"])) for i in (1, 2))
        matrix, back = jax.vjp(retention_matrix, a, b)
        close(matrix, arrays_[f"{name}_rm"])
        for grad, i in zip(back(jnp.asarray(arrays_[f"{name}_grad_out"])), (1, 2), strict=True):
            close(grad, nhwc(arrays_[f"{name}_grad_fm{i}"]))

    @pytest.mark.parametrize("i", range(6))
    def test_norm_after_n_iterations(self, golden, i):
        a = golden("lcr", "top_eigenvalue")
        norm = power_iteration_norm(jnp.asarray(a["rm"]), int(a["iters"][i]))
        np.testing.assert_allclose(np.asarray(norm), a["value"][i].ravel(), 1e-5)

    @pytest.mark.parametrize("i", range(6))
    def test_gradient_after_n_iterations(self, golden, i):
        """The arrays hold the gradient G of K = R R^T; that of R is (G + G^T) R."""
        a = golden("lcr", "top_eigenvalue")
        g = a["grad_out"].ravel()
        grad = jax.grad(lambda m: (power_iteration_norm(m, int(a["iters"][i])) * g).sum())(jnp.asarray(a["rm"]))
        of_k = a["grad_K"][i].astype(np.float64)
        expected = (of_k + of_k.swapaxes(1, 2)) @ a["rm"]
        for sample in range(3):  # of magnitudes far apart
            close(grad[sample], expected[sample])

    def test_exact_norm(self, golden):
        a = golden("lcr", "top_eigenvalue")
        np.testing.assert_allclose(np.asarray(exact_norm(jnp.asarray(a["rm"]))), a["exact_sigma_max"], 1e-5)


class TestNorm:
    @pytest.mark.parametrize("n_iter", [1, 2, 10])
    @pytest.mark.parametrize("channels", [(3, 4), (40, 48)], ids=["matrix", "vectors"])
    def test_without_the_matrix_it_is_the_same(self, n_iter, channels):
        a, b = maps(channels=channels, positive=False)
        weights = jnp.asarray([1.0, -2.0, 0.5])

        def through_matrix(a, b):
            return power_iteration_norm(retention_matrix(a, b), n_iter)

        def value_and_grads(form):
            return jax.jit(jax.value_and_grad(lambda a, b: (form(a, b) * weights).sum(), (0, 1)))(a, b)

        value, grads = value_and_grads(lambda a, b: retention_norm(a, b, n_iter))
        expected, wanted = value_and_grads(through_matrix)
        np.testing.assert_allclose(float(value), float(expected), 1e-5)
        for grad, other in zip(grads, wanted, strict=True):
            close(grad, np.asarray(other), 1e-4)

    def test_wide_pairs_form_no_matrix_and_narrow_ones_do(self):
        def has_matrix(channels, n_iter):
            shapes = [jax.ShapeDtypeStruct((2, 4, 4, c), jnp.float32) for c in channels]
            jaxpr = jax.make_jaxpr(lambda a, b: retention_norm(a, b, n_iter))(*shapes)
            return f"f32[2,{channels[0]},{channels[1]}]" in str(jaxpr)

        assert not has_matrix((256, 512), 1)
        assert not has_matrix((64, 128), 10)
        assert has_matrix((16, 32), 50)

    @given(st.integers(0, 2**31))
    def test_it_converges_to_the_exact_norm_which_one_iteration_exceeds_at_most_by_a_known_factor(self, seed):
        a, b = maps(seed)
        matrix = retention_matrix(a, b)
        exact = np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False)[:, 0]
        first = np.asarray(power_iteration_norm(matrix, 1))
        assert (first <= exact * matrix.shape[1] ** 0.25 * (1 + 1e-5)).all()
        errors = [np.abs(np.asarray(power_iteration_norm(matrix, n)) / exact - 1).max() for n in (1, 3, 30)]
        assert errors[2] <= errors[0] + 1e-6
        assert errors[2] < 1e-4

    @given(arrays.arrays(np.float32, (2, 3, 4), elements=st.floats(-1e3, 1e3, width=32)))
    def test_value_and_gradient_are_finite_whatever_the_matrix(self, matrix):
        for n_iter in (1, 3):
            value, grad = VALUE_AND_GRAD(jnp.asarray(matrix), n_iter)
            assert np.isfinite(float(value))
            assert np.isfinite(np.asarray(grad)).all()

    def test_zero_and_orthogonal_matrices_have_value_and_gradient_zero(self):
        orthogonal = jnp.asarray([[1.0, 0.0], [-1.0, 0.0]])  # R R^T 1 = 0
        for matrix in (jnp.zeros((2, 3)), orthogonal):
            for n_iter in (1, 4):
                value, grad = jax.value_and_grad(power_iteration_norm)(matrix, n_iter)
                assert float(value) == 0
                np.testing.assert_array_equal(np.asarray(grad), 0)

    def test_one_dead_sample_leaves_the_others_gradients_alone(self):
        a, b = maps()
        dead = a.at[0].set(0.0)
        grad = jax.grad(lambda a: retention_norm(a, b).sum())(dead)
        np.testing.assert_array_equal(np.asarray(grad[0]), 0)
        close(grad[1:], np.asarray(jax.grad(lambda a: retention_norm(a, b[1:]).sum())(a[1:])), 1e-5)

    @pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
    def test_half_precision_maps_are_worked_on_in_float32(self, dtype):
        a, b = (m.astype(dtype) for m in maps(size=16))
        a = a * 100  # whose norm's square no half-precision number holds
        value, grad = jax.value_and_grad(lambda a: retention_norm(a, b).sum())(a)
        assert value.dtype == jnp.float32
        assert grad.dtype == dtype
        assert np.isfinite(np.asarray(grad, np.float32)).all()
        wide = retention_norm(a.astype(jnp.float32), b.astype(jnp.float32)).sum()
        np.testing.assert_allclose(float(value), float(wide), 1e-6)

    @pytest.mark.parametrize("scale", [1e-9, 1.0, 1e8])
    def test_it_is_homogeneous_over_the_range_of_float32(self, scale):
        matrix = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5)), jnp.float32)
        np.testing.assert_allclose(
            np.asarray(power_iteration_norm(matrix * scale, 3)),
            scale * np.asarray(power_iteration_norm(matrix, 3)),
            1e-5,
        )

    def test_vmap_is_a_loop(self):
        a, b = (jnp.stack([maps(s)[i] for s in range(3)]) for i in range(2))
        together = jax.vmap(retention_norm)(a, b)
        for i in range(3):
            np.testing.assert_allclose(np.asarray(together[i]), np.asarray(retention_norm(a[i], b[i])), 1e-6)

    def test_no_iterations_are_refused(self):
        for call in (lambda: power_iteration_norm(jnp.ones((2, 2)), 0), lambda: retention_norm(*maps(), 0)):
            with pytest.raises(ValueError, match="n_iter of 1 or more, found 0"):
                call()


class TestMatrix:
    def test_a_map_that_grows_is_refused(self):
        a, b = maps()
        with pytest.raises(ValueError, match="must not be larger than the earlier one"):
            retention_matrix(b, a)

    @pytest.mark.parametrize(("a", "b"), [((2, 4, 4), (2, 4, 4, 3)), ((2, 4, 4, 3), (3, 4, 4, 3))])
    def test_what_are_no_maps_of_one_batch_are_refused(self, a, b):
        with pytest.raises(ValueError, match="of the same batch, found"):
            retention_matrix(jnp.ones(a), jnp.ones(b))

    @pytest.mark.parametrize(("old", "new"), [((7, 7), (4, 4)), ((8, 6), (4, 3)), ((9, 5), (2, 5)), ((5, 4), (1, 1))])
    def test_adaptive_pool_averages_its_windows(self, old, new):
        x = np.random.default_rng(0).normal(size=(2, *old, 3)).astype(np.float32)
        pooled = np.asarray(adaptive_avg_pool(jnp.asarray(x), new))
        for i in range(new[0]):
            for j in range(new[1]):
                rows = slice(i * old[0] // new[0], -(-(i + 1) * old[0] // new[0]))
                columns = slice(j * old[1] // new[1], -(-(j + 1) * old[1] // new[1]))
                np.testing.assert_allclose(pooled[:, i, j], x[:, rows, columns].mean((1, 2)), 1e-5, 1e-6)


def test_everything_is_reached_from_the_package():
    for name in regularizers.__all__:
        assert hasattr(regularizers, name)
