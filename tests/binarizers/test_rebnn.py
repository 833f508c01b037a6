"""What ReBNN's equations demand: no flip below the threshold, gradients, the state of gamma, and what can go wrong."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import bnn_jax
from bnn_jax.binarizers import Gradients, rebnn
from bnn_jax.binarizers.rebnn import adaptive_gamma, flip_shares
from bnn_jax.layers import BinaryConv, BinaryDense
from bnn_jax.training import sources
from bnn_jax.training.state import init_variables
from tests.conftest import ROOT
from tests.reference import rebnn as reference
from tests.training import toy

README = ROOT / "README.md"
SHAPE = (12, 3)
# XLA takes subnormal numbers for zero.
NUMBERS = st.floats(-3, 3, width=32, allow_subnormal=False)


@partial(jax.jit, static_argnames="rule")
def gradients(w, scale, gamma, g, rule="adaptive"):
    """The binary weight, the penalty, and the gradients of <w_b, g> and the penalty."""
    memory, binarizer = {"gamma": gamma, "flips": gamma, "peak": gamma}, rebnn(rule)

    def loss(w, params):
        w_b, penalty = binarizer.apply(w, params, memory), binarizer.penalty(w, params, memory, progress=0.0)
        return jnp.sum(w_b * g) + penalty, (w_b, penalty)

    (_, made), (gw, gp) = jax.value_and_grad(loss, (0, 1), has_aux=True)(w, {"scale": scale})
    return (*made, gw, gp["scale"])


@partial(jax.jit, static_argnames="clip")
def moved(w, after, scale, product_gradient, clip=None):
    """What is remembered after a step from `w` to `after`."""
    binarizer, params = rebnn(clip=clip), {"scale": scale}
    code = product_gradient * jnp.maximum(jnp.abs(scale), 1e-20)[None]
    new = after, {"scale": scale + 1}
    return binarizer.update(binarizer.init_memory(w), (w, params), new, Gradients(w, params, code))


@given(
    arrays.arrays(np.float32, SHAPE, elements=NUMBERS),
    arrays.arrays(np.float32, 3, elements=NUMBERS),
    arrays.arrays(np.float32, 3, elements=NUMBERS.map(abs)),
    arrays.arrays(np.float32, SHAPE, elements=NUMBERS),
)
def test_binary_weight_reconstruction_and_gradients_are_those_of_the_equations(w, scale, gamma, g):
    found = gradients(w, scale, gamma, g)
    alpha = np.maximum(np.abs(scale.astype(np.float64)), 1e-20)
    wanted = reference.paper(w.astype(np.float64), alpha, gamma.astype(np.float64), g.astype(np.float64))
    # The learned value is s, of which the scale is the magnitude.
    wanted = wanted._replace(grad_scale=wanted.grad_scale * np.where(scale >= 0, 1, -1))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(one, np.float64), other, 1e-4, 1e-4)


@given(
    arrays.arrays(np.float32, SHAPE, elements=NUMBERS),
    arrays.arrays(np.float32, 3, elements=NUMBERS),
    arrays.arrays(np.float32, SHAPE, elements=NUMBERS),
)
def test_the_released_ones_are_what_the_release_computes(w, scale, g):
    found = gradients(w, scale, np.zeros(3, np.float32), g, "released")
    wanted = reference.released(w.astype(np.float64), np.abs(scale.astype(np.float64)), g.astype(np.float64))
    wanted = wanted._replace(grad_scale=wanted.grad_scale * np.where(scale >= 0, 1, -1))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(one, np.float64), other, 1e-4, 1e-5)


class TestFlips:
    def step(self, seed, held, rates=(0.01, 0.99)):
        """Share of 10^5 weights that flip in one step of descent, |dL/dw_b| below gamma (where `held`).

        `rates` are those of descent times gamma.
        """
        rng = np.random.default_rng(seed)
        shape = (1000, 100)
        w = (rng.standard_normal(shape) * 10.0 ** rng.uniform(-6, 0.5, shape)).astype(np.float32)
        alpha = 10.0 ** rng.uniform(-2, 0.5, 100)
        gamma = 10.0 ** rng.uniform(-4, 1, 100)
        rate = rng.uniform(*rates, 100) / gamma
        g = rng.uniform(-0.999, 0.999, shape) * gamma
        _, _, gw, _ = gradients(*(jnp.asarray(v, jnp.float32) for v in (w, alpha, gamma * held, g)))
        after = w - jnp.asarray(rate, jnp.float32)[None] * gw
        return np.asarray(flip_shares(jnp.asarray(w), after)).mean()

    @pytest.mark.parametrize("seed", range(3))
    def test_no_bit_flips_while_gradients_are_below_gamma(self, seed):
        assert self.step(seed, held=1.0) == 0

    @pytest.mark.parametrize("seed", range(3))
    def test_without_gamma_the_same_gradients_flip_bits(self, seed):
        assert self.step(seed, held=0.0) > 0.05

    @pytest.mark.parametrize("seed", range(3))
    def test_a_step_that_is_longer_than_gamma_allows_flips_bits(self, seed):
        assert self.step(seed, held=1.0, rates=(1.5, 3.0)) > 0.05

    def test_shares_are_of_each_filter(self):
        before = jnp.asarray([[1.0, -1.0], [0.0, 1.0], [-0.0, -2.0], [-3.0, 4.0]])
        after = jnp.asarray([[-1.0, -1.0], [1.0, 1.0], [0.0, 1.0], [3.0, -4.0]])
        assert np.asarray(flip_shares(before, after)).tolist() == [0.5, 0.5]


class TestGamma:
    @given(
        arrays.arrays(np.float32, SHAPE, elements=NUMBERS),
        arrays.arrays(np.float32, SHAPE, elements=NUMBERS),
        arrays.arrays(np.float32, SHAPE, elements=NUMBERS),
    )
    def test_share_of_flips_times_the_largest_gradient(self, w, after, g):
        found = moved(w, after, np.float32([0.5, -2.0, 0.0]), g)
        np.testing.assert_allclose(found["gamma"], reference.gamma(w, after, g), 1e-5, 1e-7)
        np.testing.assert_allclose(found["peak"], np.abs(g).max(0), 1e-5, 1e-7)

    def test_it_starts_at_zero_or_the_lower_bound(self):
        w = jnp.ones(SHAPE)
        assert np.asarray(rebnn().init_memory(w)["gamma"]).tolist() == [0, 0, 0]
        np.testing.assert_allclose(rebnn(clip=(1e-5, 2e-4)).init_memory(w)["gamma"], 1e-5)

    def test_without_flips_it_is_zero_also_where_a_gradient_is_infinite(self):
        w, infinite = np.ones(SHAPE, np.float32), np.full(SHAPE, np.inf, np.float32)
        assert np.asarray(moved(w, w, np.ones(3, np.float32), infinite)["gamma"]).tolist() == [0, 0, 0]
        assert np.asarray(adaptive_gamma(jnp.zeros(2), jnp.asarray([jnp.inf, jnp.nan]))).tolist() == [0, 0]

    def test_bounds(self):
        w = np.ones(SHAPE, np.float32)
        found = moved(w, -w, np.ones(3, np.float32), w * np.float32([1e-7, 1e-4, 1.0]), clip=(1e-5, 2e-4))
        np.testing.assert_allclose(found["gamma"], [1e-5, 1e-4, 2e-4], 1e-6)

    def test_it_gets_no_gradient(self):
        w, params = jnp.ones(SHAPE), {"scale": jnp.ones(3) / 2}

        def penalty(gamma):
            return rebnn().penalty(w, params, {"gamma": gamma}, progress=0.0)

        value, slope = jax.value_and_grad(penalty)(jnp.ones(3))
        assert float(value) > 0
        assert not np.asarray(slope).any()

    @pytest.mark.parametrize(("rule", "options"), [("constant", {"constant": 0.5}), ("released", {})])
    def test_a_constant_one_needs_no_state_and_no_gradient_of_the_code(self, rule, options):
        binarizer = rebnn(rule, **options)
        assert dict(binarizer.init_memory(jnp.ones(SHAPE))) == {}
        assert not binarizer.needs_code_gradient
        assert rebnn().needs_code_gradient

    def test_a_constant_one_is_that_of_the_penalty(self):
        w, params = jnp.full(SHAPE, 2.0), {"scale": jnp.ones(3)}
        assert float(rebnn("constant", constant=0.5).penalty(w, params, {}, progress=0.0)) == 0.25 * 36

    def test_it_says_that_it_needs_the_gradient_of_the_code(self):
        w, params = jnp.ones(SHAPE), {"scale": jnp.ones(3)}
        with pytest.raises(ValueError, match="needs the gradient with respect to the code, found none"):
            rebnn().update({}, (w, params), (w, params), Gradients(w, params))


class TestScale:
    @pytest.mark.parametrize("function", ["quantize", "penalty"])
    def test_that_of_another_weight_is_refused(self, function):
        binarizer, w = rebnn("constant"), jnp.ones(SHAPE)
        other = binarizer.init_params(jnp.ones((2, 1)))
        options = {"train": True} if function == "quantize" else {}
        with pytest.raises(ValueError, match=r"rebnn needs a scale \(3,\).*found \(1,\): are the params those of"):
            getattr(binarizer, function)(w, other, {}, progress=0.0, **options)

    def test_it_starts_from_the_weights_of_the_stage_before(self):
        like, found = (
            jax.device_get(init_variables(toy.Network(3, 4, weights, None), jax.random.key(seed), (6, 6, 2)))
            for seed, weights in enumerate((rebnn(), None))
        )
        taken = sources.start_from(found, like, {("conv",): rebnn(), ("dense",): rebnn()}, "it")
        for layer in ("conv", "dense"):
            kernel = found["params"][layer]["kernel"]
            np.testing.assert_array_equal(taken["params"][layer]["kernel"], kernel)
            mean = np.abs(kernel.astype(np.float64)).reshape(-1, kernel.shape[-1]).mean(0)
            np.testing.assert_allclose(taken["params"][layer]["scale"], mean, 1e-6)
            assert not taken["memory"][layer]["binarizer"]["gamma"].any()

    def test_one_of_zero_stays_binary_and_can_grow_again(self):
        w, g = jnp.asarray(np.random.default_rng(0).normal(size=SHAPE), jnp.float32), jnp.ones(SHAPE)
        w_b, _, gw, gscale = gradients(w, jnp.zeros(3), jnp.ones(3), g)
        np.testing.assert_array_equal(np.sign(w_b), np.where(w >= 0, 1, -1))
        for value in (gw, gscale):
            assert np.isfinite(np.asarray(value)).all()
        # Only the reconstruction pulls at the weights; at the scale, both.
        np.testing.assert_allclose(gw, w, 1e-6)
        wanted = np.where(w >= 0, 1, -1).sum(0) - np.abs(w).sum(0)
        np.testing.assert_allclose(gscale, wanted, 1e-5)

    def test_a_filter_of_zeros_is_binary_with_finite_gradients(self):
        w = jnp.zeros(SHAPE)
        params = rebnn().init_params(w)
        found = gradients(w, params["scale"], jnp.ones(3), jnp.ones(SHAPE))
        assert (np.asarray(found[0]) > 0).all()
        assert all(np.isfinite(np.asarray(value)).all() for value in found)

    def test_the_released_one_starts_where_its_normal_draw_has_its_mean(self):
        draw = np.abs(np.random.default_rng(0).standard_normal(100_000)).mean()
        np.testing.assert_allclose(rebnn("released").init_params(jnp.ones(SHAPE))["scale"], draw, 1e-2)


class TestHalfPrecision:
    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    @pytest.mark.parametrize("rule", ["adaptive", "constant", "released"])
    def test_forward_and_statistics_are_in_float32_and_gradients_of_the_weights_dtype(self, dtype, rule):
        w = jnp.asarray(np.random.default_rng(0).normal(size=(4096, 2)), dtype)
        binarizer = rebnn(rule)
        params, memory = binarizer.init_params(w), binarizer.init_memory(w)
        binary, _ = binarizer.quantize(w, params, memory, train=True, progress=0.0)
        assert binary.code.dtype == binary.scale.dtype == jnp.float32
        grads = jax.grad(
            lambda v, p: binarizer.apply(v, p).sum() + binarizer.penalty(v, p, memory, progress=0.0), (0, 1)
        )
        gw, gp = grads(w, params)
        assert (gw.dtype, gp["scale"].dtype) == (w.dtype, jnp.float32)
        assert all(np.isfinite(np.asarray(value, np.float32)).all() for value in (gw, gp["scale"]))
        if rule == "adaptive":
            moved = binarizer.update(memory, (w, params), (-w, params), Gradients(gw, gp, binary.code * 1e-3))
            assert moved["gamma"].dtype == jnp.float32
            np.testing.assert_allclose(moved["gamma"], 1e-3 / np.asarray(binary.scale), 1e-5)


@pytest.mark.parametrize("layer", [BinaryDense(4, rebnn()), BinaryConv(4, rebnn())])
def test_layers_of_any_kind_take_it(layer):
    x = jnp.ones((2, 6, 6, 3))
    variables = layer.init(jax.random.key(0), x)
    assert variables["params"]["scale"].shape == variables["memory"]["binarizer"]["gamma"].shape == (4,)
    assert layer.apply(variables, x, train=True, mutable=["memory"])[0].shape == (2, 6, 6, 4)


def test_equal_options_make_one_record_and_others_another_of_another_name():
    assert rebnn() is rebnn("adaptive") is rebnn(gamma="adaptive", constant=None)
    assert rebnn("constant") is rebnn("constant", constant=2e-4)
    assert rebnn(clip=[0, 1]) is rebnn(clip=(0.0, 1.0))  # a list, as from JSON
    made = [rebnn(), rebnn(clip=(0, 1)), rebnn(clip=(0, 2)), rebnn("released"), rebnn("constant")]
    assert len({binarizer.name for binarizer in made}) == len(made)


def test_memory_carried_over_steps_keeps_its_dtype_also_where_weights_are_wider():
    with jax.enable_x64(True):
        w = jnp.linspace(-1.0, 1.0, 36, dtype=jnp.float64).reshape(12, 3)
        params = rebnn().init_params(w)

        def step(memory, _):
            return rebnn().update(memory, (w, params), (-w, params), Gradients(w, params, w)), None

        memory, _ = jax.lax.scan(step, rebnn().init_memory(w), length=2)
        assert {name: v.dtype for name, v in memory.items()} == dict.fromkeys(("gamma", "flips", "peak"), jnp.float32)
        np.testing.assert_allclose(memory["flips"], 1.0)


def block_of_readme(line, binarizer="rebnn()"):
    """Names that the README's block of Python with this line makes."""
    (block,) = (part for part in README.read_text().split("```") if line in part)
    names = {"jax": jax, "jnp": jnp, "bnn": bnn_jax}
    exec(block.removeprefix("python").replace("rebnn()", binarizer), names)
    return names


def test_the_readmes_loop_learns_holds_weights_and_lets_go():
    names = block_of_readme("rebnn = bnn.binarizers.rebnn()")
    losses, held = [float(names["loss"])], []
    for _ in range(300):
        state = names["step"](names["w"], names["params"], names["memory"])
        names["w"], names["params"], names["memory"], loss = state
        losses.append(float(loss))
        held.append(float(names["memory"]["gamma"].max()))
    assert losses[-1] < 1e-3 * losses[0]
    # Held after bits flipped, and let go when they came to rest.
    assert max(held) > 0
    assert held[-1] == 0


def test_so_does_its_step_for_a_flax_model():
    names = block_of_readme("exposed = latent.expose(")
    step, state, losses, held = names["step"], names["state"], [float(names["loss"])], []
    start = state[0]["BinaryDense_0"]["kernel"]
    for _ in range(150):
        *state, loss = step(*state)
        losses.append(float(loss))
        held.append(float(state[1]["BinaryDense_0"]["binarizer"]["gamma"].max()))
    assert losses[-1] < 0.5 * losses[0]
    assert max(held) > 0
    assert float(flip_shares(start, state[0]["BinaryDense_0"]["kernel"]).max()) > 0


@pytest.mark.parametrize("binarizer", ["irnet()", "siman()"])
def test_the_same_step_does_for_others(binarizer):
    names = block_of_readme("exposed = latent.expose(", binarizer)
    state, losses = names["state"], []
    for i in range(50):
        *state, loss = names["step"](*state, i / 50)
        losses.append(float(loss))
    assert np.mean(losses[-10:]) < 0.9 * losses[0]
