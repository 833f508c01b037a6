"""Telemetry of a toy training loop against NumPy, its compilations, and resuming in between."""

import dataclasses
import json
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.binarizers import Binary, WeightBinarizer, siman
from bnn_jax.binarizers.siman import project
from bnn_jax.inspect import binary_layers, trace_layers
from bnn_jax.layers import BinaryConv, BinaryDense
from bnn_jax.training import latent
from bnn_jax.training import telemetry as module
from bnn_jax.training.telemetry import Telemetry

STEPS = 17
MEASURES = {"flip_ratio", "flip_back_ratio", "dead_ratio", "code_entropy", "scale_min", "scale_max"}


class Toy(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool = False):
        x = BinaryConv(4, weights=siman(), name="conv")(x, train=train)
        return BinaryDense(3, weights=siman(), name="dense")(x.reshape(x.shape[0], -1), train=train)


@partial(jax.jit, donate_argnums=0)
def train_step(variables, key, progress):
    """Projects, then takes random steps large enough to flip codes; half of the weights stay where they are."""
    variables = {**variables, "params": latent.project(variables["params"], toy_layers(), progress)}
    leaves, structure = jax.tree.flatten(variables["params"])
    keys = jax.random.split(key, len(leaves))

    def move(leaf, key):
        still = jnp.arange(leaf.size).reshape(leaf.shape) % 2
        return jnp.where(still, leaf, leaf + 0.3 * jax.random.normal(key, leaf.shape))

    moved = jax.tree.unflatten(structure, [move(leaf, k) for leaf, k in zip(leaves, keys, strict=True)])
    return {**variables, "params": moved}


def states(steps=STEPS):
    """State after each step, counted from 1; donated to the next."""
    variables = jax.jit(Toy().init)(jax.random.key(0), jnp.zeros((1, 5, 5, 2)))
    for step in range(1, steps + 1):
        variables = train_step(variables, jax.random.fold_in(jax.random.key(1), step), (step - 1) / STEPS)
        yield step, variables


def toy_layers():
    return binary_layers(trace_layers(Toy(), (5, 5, 2)))


def observe_all(telemetry, skip=0):
    records = {}
    for step, variables in states():
        if step > skip:
            record = telemetry.observe(step, variables["params"], variables["memory"], step / STEPS)
            if record is not None:
                records[step] = record
    return jax.device_get(records)


def numpy_code(w):
    """The top half of the magnitudes of each standardized filter; no ties in random weights."""
    flat = w.reshape(-1, w.shape[-1]).astype(np.float64)
    size = np.abs((flat - flat.mean(0)) / np.sqrt(flat.var(0, ddof=1) + 1e-5))
    rank = np.argsort(np.argsort(-size, axis=0), axis=0)
    return np.where(rank < flat.shape[0] // 2, 1, -1)


@pytest.fixture(scope="module")
def history():
    return {step: jax.tree.map(np.array, variables["params"]) for step, variables in states()}


def test_records_equal_a_numpy_computation(history):
    records = observe_all(Telemetry(toy_layers(), every=5))
    assert list(records) == [5, 10, 15]
    for step, record in records.items():
        assert list(record) == ["conv", "dense"]
        for name, found in record.items():
            assert set(found) == MEASURES
            times = (step - 2, step - 1, step)
            weights = [history[t][name]["kernel"] for t in times]
            # What the step after each starts from.
            projected = [
                np.asarray(jax.jit(project)(w, 15.0 * (1 - t / STEPS))) for w, t in zip(weights, times, strict=True)
            ]
            a, b, c = map(numpy_code, projected)
            share = c.shape[0] // 2 / c.shape[0]
            entropy = -(share * np.log2(share) + (1 - share) * np.log2(1 - share))
            scale = history[step][name]["scale"]
            np.testing.assert_allclose(found["flip_ratio"], np.mean(b != c), rtol=1e-6)
            np.testing.assert_allclose(found["flip_back_ratio"], np.mean((a != b) & (b != c)), rtol=1e-6)
            still = np.abs(weights[2] - projected[1]) <= 1e-6 * np.abs(projected[1]).max()
            np.testing.assert_allclose(found["dead_ratio"], still.mean(), rtol=1e-6)
            np.testing.assert_allclose(found["code_entropy"], entropy, rtol=1e-6)
            assert (found["scale_min"], found["scale_max"]) == (scale.min(), scale.max())
            # The toy is such that all of these tell something.
            assert 0 < found["flip_back_ratio"] < found["flip_ratio"] < 1
            assert 0.4 < found["dead_ratio"] < 0.6


def test_consecutive_windows():
    assert list(observe_all(Telemetry(toy_layers(), every=3))) == [3, 6, 9, 12, 15]


def test_each_function_is_traced_once(monkeypatch):
    traces = {"snapshot": 0, "measure": 0}

    def counted(name):
        function = getattr(module, name)

        def wrapper(*args):
            traces[name] += 1
            return function(*args)

        return wrapper

    for name in traces:
        monkeypatch.setattr(module, name, counted(name))
    telemetry = Telemetry(toy_layers(), every=3)
    for i, (step, variables) in enumerate(states()):
        kinds = (float, np.float32, np.float64, jnp.float32)  # of progress: none may compile again
        telemetry.observe(step, variables["params"], variables["memory"], kinds[i % 4](step / STEPS))
    assert traces == {"snapshot": 1, "measure": 1}


def test_results_stay_on_the_device():
    telemetry = Telemetry(toy_layers(), every=4)
    with jax.transfer_guard_device_to_host("disallow"):
        for step, variables in states(4):
            record = telemetry.observe(step, variables["params"], variables["memory"], 0.0)
    assert all(isinstance(x, jax.Array) and x.shape == () for x in jax.tree.leaves(record))


@pytest.mark.parametrize("stop", [3, 4, 5, 6, 8, 9])
def test_a_resumed_run_records_the_same(stop):
    whole = observe_all(Telemetry(toy_layers(), every=5))
    telemetry = Telemetry(toy_layers(), every=5)
    for step, variables in states(stop):
        telemetry.observe(step, variables["params"], variables["memory"], step / STEPS)
    saved = json.loads(json.dumps(telemetry.state()))
    resumed = Telemetry(toy_layers(), every=5)
    resumed.restore(saved, stop, variables["params"], variables["memory"], stop / STEPS)
    records = observe_all(resumed, skip=stop)
    assert list(records) == [step for step in whole if step > stop]
    for step, record in records.items():
        jax.tree.map(np.testing.assert_array_equal, record, whole[step])


@pytest.mark.parametrize("stop", [3, 4])
def test_without_saved_state_the_cut_record_is_left_out(stop):
    assert list(observe_all(Telemetry(toy_layers(), every=5), skip=stop)) == [10, 15]


def test_state_is_empty_outside_of_a_window():
    telemetry = Telemetry(toy_layers(), every=5)
    open_at = []
    for step, variables in states(10):
        telemetry.observe(step, variables["params"], variables["memory"], 0.0)
        if telemetry.state():
            open_at.append(step)
    assert open_at == [3, 4, 8, 9]


def test_methods_are_told_progress_and_that_they_train():
    def quantize(w, params, memory, *, train, progress):
        assert train is True
        return Binary(jnp.where(w >= progress, 1.0, -1.0), jnp.full(w.shape[-1:], progress)), memory

    layers = {("a",): WeightBinarizer("threshold", quantize)}
    params = {"a": {"kernel": jnp.array([[0.1, 0.3], [0.5, 0.7]])}}
    telemetry = Telemetry(layers, every=3)
    for step, progress in ((1, 0.0), (2, 0.2), (3, 0.4)):
        record = telemetry.observe(step, params, {}, progress)
    assert record["a"]["flip_ratio"] == 0.25  # 0.3 fell below
    assert record["a"]["flip_back_ratio"] == 0
    assert record["a"]["dead_ratio"] == 1
    assert record["a"]["scale_max"] == jnp.float32(0.4)


def test_dead_latents_are_those_that_moved_by_no_more_than_rounding():
    before, after = jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([[1.000001, 2.0], [3.0001, 4.0]])
    code = {("a",): WeightBinarizer("ones", lambda w, *_, **__: (Binary(jnp.ones_like(w), jnp.ones(2)), {}))}
    telemetry = Telemetry(code, every=3)
    for step, w in ((1, before), (2, before), (3, after)):
        record = telemetry.observe(step, {"a": {"kernel": w}}, {}, 0.0)
    assert record["a"]["dead_ratio"] == 0.75


def test_zero_is_off_and_other_small_intervals_are_refused():
    off = Telemetry(toy_layers(), every=0)
    assert observe_all(off) == {}
    off.restore({}, 3, {}, {}, 0.0)
    assert off.state() == {}
    assert observe_all(Telemetry({}, every=3)) == {}
    for every in (-1, 1, 2):
        with pytest.raises(ValueError, match="3 or more"):
            Telemetry(toy_layers(), every=every)


def test_replicated_state_on_several_devices(run_python):
    """No second compilation where the state lies on all devices and codes come from the host."""
    out = run_python(
        """
        import jax, jax.numpy as jnp, numpy as np
        from bnn_jax.binarizers import siman
        from bnn_jax.training.parallel import replicate
        from bnn_jax.training.telemetry import Telemetry
        w = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
        layers = {("a",): siman()}
        memory = replicate({"a": {"binarizer": siman().init_memory(jnp.asarray(w))}})
        params = [replicate({"a": {"kernel": w + i % 2, "scale": np.ones(4, np.float32)}}) for i in range(10)]
        telemetry = Telemetry(layers, 3)
        records = [telemetry.observe(i, params[i], memory, 0.0) for i in range(1, 6)]
        saved, telemetry = telemetry.state(), Telemetry(layers, 3)
        telemetry.restore(saved, 5, params[5], memory, 0.0)
        records += [telemetry.observe(i, params[i], memory, 0.0) for i in range(6, 10)]
        compiled = telemetry._snapshot._cache_size(), telemetry._measure._cache_size()
        print([i for i, r in enumerate(records, 1) if r], *compiled)
        """,
        devices=2,
    )
    assert out.split("\n")[0] == "[3, 6, 9] 1 1"


def test_what_a_binarizer_remembers_of_each_channel_is_recorded_as_its_mean():
    def init_memory(w):
        return {
            "strength": jnp.arange(w.shape[-1], dtype=jnp.bfloat16),
            "code": jnp.ones_like(w),
            "count": jnp.ones(()),
            "past": jnp.ones(7),
        }

    remembering = WeightBinarizer(
        "remembering", lambda w, p, m, *, train, progress: (Binary(jnp.ones_like(w), w[0]), m)
    )
    remembering = dataclasses.replace(remembering, init_memory=init_memory)
    kernel = jnp.ones((5, 4))
    params, memory = {"dense": {"kernel": kernel}}, {"dense": {"binarizer": init_memory(kernel)}}
    telemetry = Telemetry({("dense",): remembering}, every=3)
    records = [telemetry.observe(step, params, memory, 0.0) for step in (1, 2, 3)]
    assert set(records[-1]["dense"]) == MEASURES | {"memory_strength"}
    assert records[-1]["dense"]["memory_strength"] == 1.5
