"""What every weight binarizer promises, whichever method it is: a new one joins by one line in RECORDS."""

from functools import cache
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax import binarizers
from bnn_jax.binarizers import Binary, Gradients

RECORDS = {
    "irnet": binarizers.irnet(),
    "rebnn": binarizers.rebnn(),
    "rebnn released": binarizers.rebnn("released"),
    "siman": binarizers.siman(),
    "siman median": binarizers.siman("median"),
    "siman angle": binarizers.siman("angle"),
    "siman scale of weights": binarizers.siman(scale_init="weights"),
    "siman fresh code": binarizers.siman(refresh_code=True),
}
SHAPES = [(3, 3, 4, 6), (36, 5), (2, 9, 4)]
records = pytest.mark.parametrize("binarizer", RECORDS.values(), ids=list(RECORDS))
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def weight(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).laplace(scale=0.1, size=shape), jnp.float32)


@cache
def compiled(binarizer):
    """The functions of a record, compiled once per shape."""
    return SimpleNamespace(
        start=jax.jit(lambda w: (binarizer.init_params(w), binarizer.init_memory(w))),
        quantize=jax.jit(binarizer.quantize, static_argnames="train"),
        apply=jax.jit(binarizer.apply, static_argnames="train"),
        project=jax.jit(binarizer.project),
    )


def start(binarizer, w):
    return compiled(binarizer).start(w)


def same_structure(actual, expected):
    chex.assert_trees_all_equal_shapes_and_dtypes(dict(actual), dict(expected))


@records
@shapes
@pytest.mark.parametrize("train", [True, False])
class TestForward:
    def test_it_is_code_times_scale_with_two_values_per_channel(self, binarizer, shape, train):
        w = weight(shape)
        params, memory = start(binarizer, w)
        binary, _ = compiled(binarizer).quantize(w, params, memory, train=train, progress=0.25)
        assert isinstance(binary, Binary)
        chex.assert_shape(binary.code, shape)
        chex.assert_shape(binary.scale, shape[-1:])
        assert jnp.issubdtype(binary.code.dtype, jnp.floating)
        np.testing.assert_array_equal(np.abs(np.asarray(binary.code)), 1)
        assert np.isfinite(np.asarray(binary.scale)).all()
        applied = compiled(binarizer).apply(w, params, memory, train=train, progress=0.25)
        np.testing.assert_array_equal(np.asarray(applied), np.asarray(binary.code) * np.asarray(binary.scale))
        np.testing.assert_array_equal(np.asarray(binary.weight), np.asarray(applied))
        for channel in np.moveaxis(np.asarray(applied), -1, 0):
            assert len(np.unique(np.abs(channel))) == 1
            assert len(np.unique(channel)) <= 2

    def test_memory_keeps_its_structure_through_forward_and_update(self, binarizer, shape, train):
        w = weight(shape)
        params, memory = start(binarizer, w)
        _, moved = compiled(binarizer).quantize(w, params, memory, train=train, progress=0.25)
        same_structure(moved, memory)
        if not train:
            chex.assert_trees_all_equal(dict(moved), dict(memory))
        grads = Gradients(weight(shape, 1), jax.tree.map(jnp.ones_like, dict(params)), weight(shape, 2))
        same_structure(binarizer.update(moved, (w, params), (0.9 * w, params), grads), memory)


@records
class TestRecord:
    def test_compiling_changes_no_bit_of_the_code(self, binarizer):
        w = weight((36, 5))
        params, memory = binarizer.init_params(w), binarizer.init_memory(w)
        plain = binarizer.quantize(w, params, memory, train=True, progress=0.5)
        jitted = compiled(binarizer).quantize(w, params, memory, train=True, progress=0.5)
        chex.assert_trees_all_equal(jitted[0].code, plain[0].code)
        chex.assert_trees_all_equal(dict(jitted[1]), dict(plain[1]))
        np.testing.assert_allclose(np.asarray(jitted[0].scale), np.asarray(plain[0].scale), 1e-6)

    def test_defaults_of_apply_are_the_initial_parameters_and_memory(self, binarizer):
        w = weight((36, 5))
        explicit = binarizer.apply(w, *start(binarizer, w))
        np.testing.assert_array_equal(np.asarray(binarizer.apply(w)), np.asarray(explicit))

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
    def test_forward_is_binary_from_half_precision_weights_too(self, binarizer, dtype):
        w = weight((36, 5)).astype(dtype)
        params, memory = start(binarizer, w)
        binary, moved = compiled(binarizer).quantize(w, params, memory, train=True, progress=0.0)
        np.testing.assert_array_equal(np.abs(np.asarray(binary.code, np.float64)), 1)
        same_structure(moved, memory)

    @shapes
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_projection_keeps_shape_and_dtype(self, binarizer, shape, dtype):
        w = weight(shape).astype(dtype)
        projected = compiled(binarizer).project(w, progress=0.25)
        chex.assert_equal_shape([projected, w])
        assert projected.dtype == w.dtype
        assert np.isfinite(np.asarray(projected, np.float64)).all()

    def test_penalty_is_a_finite_scalar_with_finite_gradients(self, binarizer):
        w = weight((36, 5))
        params, memory = start(binarizer, w)
        value, grads = jax.value_and_grad(lambda v, p: binarizer.penalty(v, p, memory, progress=0.5), (0, 1))(w, params)
        chex.assert_shape(value, ())
        for leaf in jax.tree.leaves((value, grads)):
            assert np.isfinite(np.asarray(leaf)).all()

    @shapes
    def test_gradients_reach_weights_and_parameters_and_are_finite(self, binarizer, shape):
        w, cotangent = weight(shape), np.asarray(weight(shape, 1))
        params, memory = start(binarizer, w)
        loss = jax.jit(jax.grad(lambda v, p: (cotangent * binarizer.apply(v, p, memory)).sum(), (0, 1)))
        grads = loss(w, params)
        for leaf in jax.tree.leaves(grads):
            assert np.isfinite(np.asarray(leaf)).all()
            assert np.abs(np.asarray(leaf)).max() > 0

    def test_vmap_over_seeds_is_a_loop_over_seeds(self, binarizer):
        w = jnp.stack([weight((3, 3, 4, 6), seed) for seed in range(3)])
        together = jax.jit(jax.vmap(binarizer.apply))(w)
        assert len({np.asarray(member).tobytes() for member in together}) == 3
        for member, alone in zip(together, w, strict=True):
            np.testing.assert_array_equal(np.asarray(member), np.asarray(compiled(binarizer).apply(alone)))
        projected = jax.jit(jax.vmap(lambda v: binarizer.project(v, progress=0.2)))(w)
        for member, alone in zip(projected, w, strict=True):
            expected = compiled(binarizer).project(alone, progress=0.2)
            np.testing.assert_allclose(np.asarray(member), np.asarray(expected), 1e-6, 1e-7)

    def test_pmap_gives_the_same(self, binarizer):
        w = weight((3, 3, 4, 6))
        mapped = jax.pmap(binarizer.apply)(w[None])[0]
        np.testing.assert_array_equal(np.asarray(mapped), np.asarray(compiled(binarizer).apply(w)))

    def test_steps_in_a_scan_are_those_of_a_loop(self, binarizer):
        w0 = weight((36, 5))
        params, memory0 = start(binarizer, w0)
        target = weight((36, 5), 1)

        @jax.jit
        def step(carry, progress):
            w, memory = carry
            w = binarizer.project(w, progress=progress)

            def loss(v):
                binary, moved = binarizer.quantize(v, params, memory, train=True, progress=progress)
                return jnp.square(binary.weight - target).sum(), moved

            g, moved = jax.grad(loss, has_aux=True)(w)
            new = w - 0.01 * g
            slopes = Gradients(g, jax.tree.map(jnp.zeros_like, params), g)
            memory = binarizer.update(moved, (w, params), (new, params), slopes)
            return (new, memory), None

        progress = jnp.arange(4) / 4
        (w, memory), _ = jax.lax.scan(step, (w0, memory0), progress)
        carry = (w0, memory0)
        for p in progress:
            carry, _ = step(carry, p)
        np.testing.assert_allclose(np.asarray(w), np.asarray(carry[0]), 1e-5, 1e-6)
        chex.assert_trees_all_equal(dict(memory), dict(carry[1]))
        assert np.abs(np.asarray(w - w0)).max() > 0

    def test_progress_is_traced_so_that_a_schedule_compiles_once(self, binarizer):
        w = weight((36, 5))
        params, memory = start(binarizer, w)

        @jax.jit
        @chex.assert_max_traces(n=1)
        def step(w, progress):
            w = binarizer.project(w, progress=progress)
            penalty = binarizer.penalty(w, params, memory, progress=progress)
            return binarizer.apply(w, params, memory, progress=progress), penalty

        for progress in (0.0, 0.3, 0.9):
            out, _ = step(w, progress)
            assert np.isfinite(np.asarray(out)).all()
        chex.clear_trace_counter()

    def test_memory_gets_no_gradient_and_is_made_of_arrays(self, binarizer):
        w = weight((36, 5))
        params, memory = start(binarizer, w)
        for leaf in jax.tree.leaves((dict(params), dict(memory))):
            assert isinstance(leaf, jax.Array)

        # What quantize remembers must not carry a gradient of its own into the next step.
        def remembered(v):
            _, moved = binarizer.quantize(v, params, memory, train=True, progress=0.0)
            return sum((jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(dict(moved))), jnp.zeros(()))

        moved = jax.grad(remembered)(w)
        np.testing.assert_array_equal(np.asarray(moved), 0)

    def test_it_is_hashable_so_that_modules_can_hold_it(self, binarizer):
        assert hash(binarizer) == hash(binarizer)
        assert binarizer.name
