"""Which parameters decay, as in the released code; SGD and Adam with coupled L2, against NumPy."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from bnn_jax import models
from bnn_jax.binarizers import siman, siman_activations
from bnn_jax.config import OptimizerConfig, component
from bnn_jax.inspect import binary_layers, trace_layers
from bnn_jax.training import optimizer, schedules

# name in the release: (factory, its arguments, side of the image)
NETWORKS = {
    "cifar_resnet20": (models.resnet20, {"num_classes": 10}, 32),
    "cifar_resnet18": (models.resnet18_cifar, {"num_classes": 10}, 32),
    "cifar_vgg_small": (models.vgg_small, {"num_classes": 10}, 32),
    "imagenet_resnet18": (models.resnet_imagenet, {"num_classes": 1000, "depth": 18}, 224),
    "imagenet_resnet34": (models.resnet_imagenet, {"num_classes": 1000, "depth": 34}, 224),
}
RELEASED_RULE = {"cifar_resnet18": "shortcut/conv"}


def config(**changes):
    made = OptimizerConfig(component(optimizer.sgd), component(schedules.constant))
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def network(name):
    """Shapes of the parameters by path, and the paths of the binary layers."""
    factory, options, side = NETWORKS[name]
    model = factory(**options, weights=siman(), activations=siman_activations())
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, side, side, 3)))
    return variables["params"], binary_layers(trace_layers(model, (side, side, 3)))


def sizes(params, mask):
    """Sizes of the parameters that decay and of those that do not, by path."""
    params, mask = flatten_dict(params), flatten_dict(mask)
    assert params.keys() == mask.keys()
    parts = {True: {}, False: {}}
    for path, leaf in params.items():
        parts[mask[path]]["/".join(path)] = math.prod(leaf.shape)
    return parts[True], parts[False]


class TestDecayMask:
    @pytest.mark.parametrize("name", NETWORKS)
    def test_the_released_rule_gives_the_released_counts(self, name, test_data):
        groups = json.loads((test_data / "golden" / "siman" / "param_groups.json").read_text())[name]
        params, binary = network(name)
        mask = optimizer.decay_mask(params, binary, config(force_decay=RELEASED_RULE.get(name, "")))
        decayed, exempt = sizes(params, mask)
        assert sum(exempt.values()) == groups["no_wd"]
        assert sum(decayed.values()) == groups["total_trainable"] - groups["no_wd"]
        assert len(decayed) + len(exempt) == groups["n_tensors"]
        kernels = {"/".join((*path, "kernel")) for path in binary}
        assert len(kernels) == groups["n_binarized_layers"]
        assert sum({**decayed, **exempt}[kernel] for kernel in kernels) == groups["binarized_weights"]
        assert len(kernels & decayed.keys()) == len(groups["binarized_but_decayed"])

    @pytest.mark.parametrize("name", NETWORKS)
    def test_by_default_no_binarized_weight_and_no_scale_decays_and_all_else_does(self, name):
        params, binary = network(name)
        decayed, exempt = sizes(params, optimizer.decay_mask(params, binary, config()))
        expected = {"/".join((*path, leaf)) for path in binary for leaf in ("kernel", "scale")}
        assert set(exempt) == expected
        assert "classifier/kernel" in decayed
        assert sum(path.endswith("/kernel") for path in decayed) >= 2  # the first convolution too

    def test_binarized_weights_decay_if_asked_to(self):
        params, binary = network("cifar_resnet20")
        decayed, exempt = sizes(params, optimizer.decay_mask(params, binary, config(decay_binarized=True)))
        assert not exempt
        assert len(decayed) == 97

    def test_no_decay_exempts_what_it_matches_and_force_decay_has_the_last_word(self):
        params, binary = network("cifar_resnet20")
        rules = config(no_decay="norm|bias$", force_decay="stem_norm|stage1_block1/conv1/kernel")
        decayed, exempt = sizes(params, optimizer.decay_mask(params, binary, rules))
        assert "stage2_block1/norm1/scale" in exempt
        assert "classifier/bias" in exempt
        assert {"stem_norm/scale", "stem_norm/bias", "stage1_block1/conv1/kernel"} <= decayed.keys()
        assert "stage1_block1/conv1/scale" in exempt

    def test_only_what_the_weight_binarizer_acts_on_and_learns_is_exempt_in_a_binary_layer(self):
        names = ("kernel", "scale", "bias", "input_shift")
        params = {"dense": {name: jnp.ones((2, 2) if name == "kernel" else 2) for name in names}}
        mask = optimizer.decay_mask(params, {("dense",): siman()}, config())
        assert mask == {"dense": {"kernel": False, "scale": False, "bias": True, "input_shift": True}}

    @pytest.mark.parametrize("field", ["no_decay", "force_decay"])
    def test_a_rule_that_matches_nothing_is_refused_with_the_parameters_there_are(self, field):
        params = {"conv": {"kernel": jnp.ones((2, 2))}}
        with pytest.raises(ValueError, match=rf"optimizer\.{field} = 'shortcat' matches no .* \['conv/kernel'\]"):
            optimizer.decay_mask(params, {}, config(**{field: "shortcat"}))


PARAMS = {
    "binary": {"kernel": np.array([[0.5, -1.0], [2.0, 0.25]]), "scale": np.array([1.0, 0.5])},
    "plain": {"kernel": np.array([[1.5, -0.5]]), "bias": np.array([0.1])},
}
DECAYED = {("plain", "kernel"), ("plain", "bias")}
EPOCHS, STEPS = 4, 3
# The linear schedule of four epochs, by hand.
RATES = [0.3, 0.225, 0.15, 0.075]


def gradient(path, step):
    shape = flatten_dict(PARAMS)[path].shape
    return np.random.default_rng([step, *"/".join(path).encode()]).normal(size=shape)


def train_with_optax(chosen):
    """Parameters after each step, by path."""
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), PARAMS)
    transform = optimizer.build_optimizer(chosen, params, {("binary",): siman()}, epochs=EPOCHS, steps_per_epoch=STEPS)
    state, history = transform.init(params), []
    update = jax.jit(transform.update)
    for step in range(EPOCHS * STEPS):
        grads = {
            layer: {leaf: jnp.asarray(gradient((layer, leaf), step), jnp.float32) for leaf in leaves}
            for layer, leaves in PARAMS.items()
        }
        updates, state = update(grads, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        history.append(flatten_dict(params))
    return history


def check(history, reference):
    """Compares with `reference(path) -> parameters after each step`."""
    for path in flatten_dict(PARAMS):
        for step, expected in enumerate(reference(path)):
            np.testing.assert_allclose(history[step][path], expected, rtol=2e-5, atol=1e-6, err_msg=f"{path} {step}")


class TestTransforms:
    @pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, False), (0.9, True), (0.0, False)])
    def test_sgd_with_coupled_decay_and_a_rate_per_epoch_is_that_of_numpy(self, momentum, nesterov):
        chosen = config(
            transform=component(optimizer.sgd, momentum=momentum, nesterov=nesterov),
            schedule=component(schedules.linear),
            learning_rate=0.3,
            weight_decay=0.2,
        )

        def reference(path):
            w, velocity = flatten_dict(PARAMS)[path].copy(), 0.0
            for step in range(EPOCHS * STEPS):
                g = gradient(path, step) + (0.2 * w if path in DECAYED else 0.0)
                velocity = momentum * velocity + g
                w = w - RATES[step // STEPS] * (g + momentum * velocity if nesterov else velocity)
                yield w

        check(train_with_optax(chosen), reference)

    def test_adam_with_coupled_decay_is_that_of_numpy(self):
        chosen = config(
            transform=component(optimizer.adam, b1=0.8, b2=0.95, eps=1e-3),
            schedule=component(schedules.linear),
            learning_rate=0.3,
            weight_decay=0.2,
        )

        def reference(path):
            w, m, v = flatten_dict(PARAMS)[path].copy(), 0.0, 0.0
            for step in range(EPOCHS * STEPS):
                g = gradient(path, step) + (0.2 * w if path in DECAYED else 0.0)
                m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
                mean, square = m / (1 - 0.8 ** (step + 1)), v / (1 - 0.95 ** (step + 1))
                w = w - RATES[step // STEPS] * mean / (np.sqrt(square) + 1e-3)
                yield w

        check(train_with_optax(chosen), reference)

    @pytest.mark.parametrize(
        ("key", "transform", "rate", "decay"),
        [
            ("sgd", optimizer.sgd, 0.1, 1e-2),
            ("adam", optimizer.adam, 1e-2, 1e-2),
            ("adam_nowd", optimizer.adam, 1e-2, 0.0),
        ],
    )
    def test_released_optimizers(self, golden, key, transform, rate, decay):
        a = golden("bdbnn", "optimizers")
        chosen = config(
            transform=component(transform),
            schedule=component(schedules.constant),
            learning_rate=rate,
            weight_decay=decay,
        )
        params = {"w": jnp.asarray(a["p0"])}
        made = optimizer.build_optimizer(chosen, params, {}, epochs=1, steps_per_epoch=5)
        state = made.init(params)
        for gradient, expected in zip(a["grads"], a[key], strict=True):
            updates, state = made.update({"w": jnp.asarray(gradient)}, state, params)
            params = optax.apply_updates(params, updates)
            np.testing.assert_allclose(np.asarray(params["w"]), expected, rtol=3e-6, atol=3e-7)

    def test_without_weight_decay_no_parameter_decays(self):
        history = train_with_optax(config(transform=component(optimizer.sgd, momentum=0.0), learning_rate=0.3))

        def reference(path):
            w = flatten_dict(PARAMS)[path].copy()
            for step in range(EPOCHS * STEPS):
                w = w - 0.3 * gradient(path, step)
                yield w

        check(history, reference)


def test_learning_rates_are_those_of_each_epoch():
    chosen = config(schedule=component(schedules.linear), learning_rate=0.3)
    found = optimizer.learning_rates(chosen, EPOCHS)
    assert all(type(rate) is float for rate in found)
    np.testing.assert_allclose(found, RATES, rtol=1e-6)


def test_a_schedule_that_is_0_throughout_is_refused_but_not_a_rate_of_0():
    too_short = config(schedule=component(schedules.linear, ahead=1), learning_rate=0.3)
    with pytest.raises(ValueError, match="0 in every epoch of a run of 1: it would learn nothing"):
        optimizer.learning_rates(too_short, 1)
    assert optimizer.learning_rates(too_short, 2) == pytest.approx((0.15, 0.0))
    assert optimizer.learning_rates(config(learning_rate=0.0), 1) == (0.0,)
