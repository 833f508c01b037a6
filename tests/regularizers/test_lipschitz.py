"""The regularizer which retains the Lipschitz constant, against the released code's arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bnn_jax import losses
from bnn_jax.regularizers import lipschitz_retention, lipschitz_term, released_weight
from bnn_jax.regularizers.lipschitz import norms
from tests.reference.layouts import nhwc

COUNTS = {"four": 4, "three": 3, "two": 2}
CASES = [(name, n_iter) for name in COUNTS for n_iter in (1, 10)]


def features(arrays, name):
    return [[jnp.asarray(nhwc(arrays[f"{name}_{kind}{i}"])) for i in range(COUNTS[name])] for kind in ("b", "fp")]


def close(actual, expected):
    np.testing.assert_allclose(np.asarray(actual, np.float64), expected, 1e-4, 1e-4 * np.abs(expected).max())


class TestGolden:
    @pytest.mark.parametrize(("name", "n_iter"), CASES)
    def test_loss_and_gradient_of_every_feature(self, golden, name, n_iter):
        arrays = golden("lcr", "lcr_loss")
        own, targets = features(arrays, name)
        loss, grads = jax.value_and_grad(lambda own: lipschitz_retention(own, targets, n_iter=n_iter))(own)
        close(loss, arrays[f"{name}_it{n_iter}_loss"])
        for i, grad in enumerate(grads):
            close(grad, nhwc(arrays[f"{name}_it{n_iter}_grad_b{i}"]))

    @pytest.mark.parametrize(("name", "n_iter"), CASES)
    def test_norms_of_both_networks(self, golden, name, n_iter):
        arrays = golden("lcr", "lcr_loss")
        for maps, kind in zip(features(arrays, name), ("b", "fp"), strict=True):
            for i, norm in enumerate(norms(maps, n_iter=n_iter)):
                close(norm, arrays[f"{name}_it{n_iter}_eig_{kind}{i}"].ravel())

    @pytest.mark.parametrize("name", COUNTS)
    def test_the_released_coefficient(self, golden, name):
        arrays = golden("lcr", "lcr_loss")
        scaled = released_weight(8, 128) * lipschitz_retention(*features(arrays, name))
        close(scaled, arrays[f"{name}_it1_scaled_alpha8_bs128"])

    def test_scales_and_their_gradient(self, golden):
        arrays = golden("lcr", "lcr_gamma")
        own, targets = features(golden("lcr", "lcr_loss"), "four")
        scales = jnp.asarray(arrays["gamma"][0])
        loss, grad = jax.value_and_grad(lambda s: lipschitz_retention(own, targets, scales=s))(scales)
        close(loss, arrays["loss"])
        close(grad, arrays["grad_gamma"][0])

    def test_a_dead_sample_leaves_the_others_alone_and_is_finite_where_the_release_is_not(self, golden):
        arrays = golden("lcr", "lcr_hazard")
        own, targets = features(golden("lcr", "lcr_loss"), "four")
        own[1] = own[1].at[0].set(0.0)
        assert np.isnan(arrays["loss"])
        loss, grads = jax.value_and_grad(lambda own: lipschitz_retention(own, targets))(own)
        assert np.isfinite(float(loss))
        found = dict(zip(("eig_b0", "eig_b1"), norms(own), strict=False))
        released = {name: arrays[name].ravel() for name in found}
        for i, grad in enumerate(grads):
            found[f"grad_b{i}"], released[f"grad_b{i}"] = grad, nhwc(arrays[f"grad_b{i}"])
        for name, value in found.items():
            undefined = np.isnan(released[name])
            assert not undefined[1:].any()
            np.testing.assert_array_equal(np.isfinite(np.asarray(value)), True)
            close(np.asarray(value)[~undefined], released[name][~undefined])


def maps(seed=0, widths=(3, 5, 4)):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=(4, 8 >> i, 8 >> i, c)), jnp.float32) for i, c in enumerate(widths)]


def gaps(own, targets):
    """|s - t| of each pair, mean over samples."""
    return np.array([np.abs(s - t).mean() for s, t in zip(norms(own), norms(targets), strict=True)])


class TestRetention:
    def test_a_network_retains_its_own_constants(self):
        own = maps()
        for kind in ("difference", "ratio"):
            loss, grads = jax.value_and_grad(lambda own, k=kind: lipschitz_retention(own, maps(), kind=k))(own)
            assert float(loss) < 1e-12
            assert max(float(jnp.abs(g).max()) for g in grads) < 1e-3

    def test_no_gradient_flows_to_the_targets(self):
        grads = jax.grad(lambda targets: lipschitz_retention(maps(), targets))(maps(1))
        for grad in grads:
            np.testing.assert_array_equal(np.asarray(grad), 0)

    def test_the_ratio_does_not_depend_on_the_scale_of_both(self):
        own, targets = maps(), maps(1)
        larger = [10 * m for m in own], [10 * m for m in targets]
        close(lipschitz_retention(*larger, kind="ratio"), float(lipschitz_retention(own, targets, kind="ratio")))
        assert float(lipschitz_retention(*larger)) > 100 * float(lipschitz_retention(own, targets))

    @pytest.mark.parametrize("kind", ["difference", "ratio"])
    @pytest.mark.parametrize("n_iter", [1, 10])
    def test_dead_maps_of_either_network_give_finite_values_and_gradients(self, kind, n_iter):
        for whose in range(2):
            lists = [maps(), maps(1)]
            lists[whose] = [m.at[0].set(0.0) for m in lists[whose]]
            loss, grads = jax.value_and_grad(
                lambda own, targets=lists[1]: lipschitz_retention(own, targets, kind=kind, n_iter=n_iter)
            )(lists[0])
            assert np.isfinite(float(loss))
            for grad in grads:
                assert np.isfinite(np.asarray(grad)).all()

    @pytest.mark.parametrize("scale", [1e-3, 1e-8, 1e-15])
    def test_the_ratio_of_almost_dead_maps_has_a_bounded_value_and_gradient(self, scale):
        own = [m * scale for m in maps()]
        loss, grads = jax.value_and_grad(lambda own: lipschitz_retention(own, maps(1), kind="ratio"))(own)
        assert 0 < float(loss) < 1e6
        for grad in grads:
            assert np.isfinite(np.asarray(grad)).all()

    def test_descent_closes_the_gap(self):
        own, targets, adam = maps(), [2 * m for m in maps(1)], optax.adam(0.03)
        before = gaps(own, targets)

        @jax.jit
        def step(own, state):
            updates, state = adam.update(jax.grad(lipschitz_retention)(own, targets), state)
            return optax.apply_updates(own, updates), state

        state = adam.init(own)
        for _ in range(100):
            own, state = step(own, state)
        after = gaps(own, targets)
        assert before.shape == (2,)
        assert (after < 0.3 * before).all()

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: lipschitz_retention(maps()[:1], maps()[:1]), "two or more feature maps"),
            (
                lambda: lipschitz_retention(maps(), [m[:1] for m in maps()]),
                r"same images, found batches of \d and 1",
            ),
            (lambda: lipschitz_retention(maps(), maps()[:2]), "3 features and 2 targets"),
            (lambda: lipschitz_retention(maps(), maps(), kind="quotient"), "unknown kind 'quotient'"),
            (lambda: lipschitz_retention(maps(), maps(), scales=jnp.ones(2)), "one factor per feature map"),
        ],
    )
    def test_bad_arguments_are_refused(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()


class TestTerm:
    NAMES = ("stage1", "stage2", "stage3")

    def outputs(self, teacher=True):
        own, there = (dict(zip(self.NAMES, maps(seed), strict=True)) for seed in (0, 1))
        logits = jnp.zeros((4, 2))
        taught = losses.Teacher(logits, there, {}) if teacher else None
        return losses.Outputs(logits, jnp.zeros(4, jnp.int32), own, {}, 0.0, taught)

    def test_it_is_the_regularizer_of_the_named_features(self):
        term = lipschitz_term(self.NAMES, learn_scales=False)
        close(term(self.outputs()), float(lipschitz_retention(maps(), maps(1))))

    def test_it_learns_scales_which_start_at_one(self):
        terms = [losses.Term("lipschitz", lipschitz_term(self.NAMES), 0.5)]
        learned = losses.init_params(terms)
        np.testing.assert_array_equal(np.asarray(learned["lipschitz"]["scales"]), np.ones(3))
        (loss, values), grads = jax.value_and_grad(lambda p: losses.total(terms, self.outputs(), p), has_aux=True)(
            learned
        )
        close(values["lipschitz"], float(lipschitz_retention(maps(), maps(1))))
        close(loss, 0.5 * float(values["lipschitz"]))
        assert (np.asarray(grads["lipschitz"]["scales"]) != 0).all()

    def test_latent_compares_signs_with_what_they_are_signs_of_and_needs_no_teacher(self):
        term = lipschitz_term(self.NAMES, source="latent", learn_scales=False)
        signs = [jnp.where(m >= 0, 1.0, -1.0) for m in maps()]
        close(term(self.outputs(teacher=False)), float(lipschitz_retention(signs, maps())))

    def test_without_a_teacher_it_says_what_to_do(self):
        with pytest.raises(ValueError, match=r"lipschitz needs a teacher.*set its field `teacher`"):
            lipschitz_term(self.NAMES, learn_scales=False)(self.outputs(teacher=False))

    def test_a_missing_feature_is_named(self):
        with pytest.raises(ValueError, match=r"the network has no features \['stage4'\]: it has"):
            lipschitz_term(("stage3", "stage4"), learn_scales=False)(self.outputs())

    def test_unknown_options_are_refused(self):
        with pytest.raises(ValueError, match="unknown source 'student'"):
            lipschitz_term(source="student")
        with pytest.raises(ValueError, match="two or more features"):
            lipschitz_term(("stage1",))
