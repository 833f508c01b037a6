"""BD-BNN's recipes: which weights the released targets meet, and what the loss of each stage sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.config.file import load
from bnn_jax.losses import Outputs, Teacher
from bnn_jax.regularizers import RELEASED_TARGETS
from bnn_jax.training.state import init_variables
from tests.conftest import ROOT
from tests.reference import bimodal as reference


def shapes(component, image_shape=(32, 32, 3), classes=10):
    """Parameters of a config's network, as shapes."""
    model = component.build(num_classes=classes)
    return jax.eval_shape(lambda: init_variables(model, jax.random.key(0), image_shape))["params"]


def kurtosis_of(losses):
    return next(loss.term.build() for loss in losses if loss.name == "kurtosis")


@pytest.mark.parametrize(
    ("name", "image_shape"), [("cifar10/bdbnn_resnet18", (32, 32, 3)), ("imagenet/bdbnn_react_resnet18", (224, 224, 3))]
)
def test_the_odd_targets_meet_the_shortcuts(name, image_shape):
    config = load(ROOT / "configs" / f"{name}.py")
    for losses in (config.losses, config.stages[-1].config.losses):
        targets = kurtosis_of(losses).targets(shapes(config.model, image_shape))
        assert [i for i, path in enumerate(targets) if "shortcut" in path] == [6, 11, 16]
        assert tuple(targets.values()) in RELEASED_TARGETS.values()


@pytest.mark.parametrize(("name", "count"), [("resnet18", 19), ("resnet20", 18), ("vgg_small", 5)])
def test_student_and_teacher_share_all_weights_that_are_mimicked(name, count):
    config = load(ROOT / "configs" / "cifar10" / f"bdbnn_{name}.py")
    student, first = shapes(config.model), shapes(config.stages[0].config.model)
    assert config.model.weights is not None
    assert config.stages[0].config.model.weights is None
    assert config.stages[0].config.model.activations is not None
    mimicking = next(loss.term.build() for loss in config.losses if loss.name == "mimicking")

    def value(student, teacher):
        seen = Teacher(jnp.zeros((1, 10)), {}, teacher)
        return mimicking(Outputs(jnp.zeros((1, 10)), jnp.zeros(1, jnp.int32), {}, student, 0.0, seen))

    assert jax.eval_shape(value, student, first).shape == ()
    assert len(kurtosis_of(config.losses).targets(student)) == count


def test_the_first_convolution_is_left_out_of_both_terms():
    config = load(ROOT / "configs" / "cifar10" / "bdbnn_resnet20.py")
    model = config.model.build(num_classes=10)
    params = init_variables(model, jax.random.key(0), (32, 32, 3))["params"]
    other = {**params, "stem_conv": jax.tree.map(lambda w: jnp.exp(9 * w), params["stem_conv"])}
    seen = Teacher(jnp.zeros((1, 10)), {}, params)
    outputs = Outputs(jnp.zeros((1, 10)), jnp.zeros(1, jnp.int32), {}, other, 0.0, seen)
    terms = {loss.name: loss.term.build() for loss in config.losses}
    assert float(terms["mimicking"](outputs)) == 0
    wanted = kurtosis_of(config.losses).targets(params)
    kernels = {path: np.asarray(params[path.split("/")[0]][path.split("/")[1]]["kernel"]) for path in wanted}
    expected = np.mean([(reference.kurtosis(kernels[path]) - target) ** 2 for path, target in wanted.items()])
    np.testing.assert_allclose(float(terms["kurtosis"](outputs)), expected, 1e-4)
