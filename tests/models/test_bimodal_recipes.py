"""BD-BNN's recipes: which weights the released targets meet, what each stage's loss is, and how it is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from bnn_jax.config.file import load
from bnn_jax.losses import Outputs, Teacher
from bnn_jax.training import optimizer, schedules
from bnn_jax.training.optimizer import decay_mask
from bnn_jax.training.state import init_variables
from tests.conftest import ROOT
from tests.reference import bimodal as reference

CIFAR = ("resnet18", "resnet20", "vgg_small")


def config(name):
    return load(ROOT / "configs" / f"{name}.py")


def shapes(component, image_shape=(32, 32, 3)):
    """Parameters of a config's network, as shapes."""
    model = component.build(num_classes=10)
    return jax.eval_shape(lambda: init_variables(model, jax.random.key(0), image_shape))["params"]


def term(made, name):
    return next(loss.term.build() for loss in made.losses if loss.name == name)


def stage(made, name):
    return next(stage.config for stage in made.stages if stage.name == name)


def outputs(student, teacher):
    seen = Teacher(jnp.zeros((1, 10)), {}, teacher)
    return Outputs(jnp.zeros((1, 10)), jnp.zeros(1, jnp.int32), {}, student, 0.0, seen)


class TestTargets:
    @pytest.mark.parametrize(
        ("name", "size", "first", "second"),
        [
            ("cifar10/bdbnn_resnet18", 32, "cifar", "teacher_student"),
            ("imagenet/bdbnn_react_resnet18", 224, "imagenet", "teacher_student"),
        ],
    )
    def test_each_stage_has_its_list_and_shortcuts_come_third_in_their_stages(self, name, size, first, second):
        made = config(name)
        for one, wanted in ((stage(made, "real_weights"), first), (made, second)):
            kurtosis = term(one, "kurtosis")
            assert kurtosis.target == wanted
            paths = list(kurtosis.targets(shapes(made.model, (size, size, 3))))
            assert [i for i, path in enumerate(paths) if "shortcut" in path] == [6, 11, 16]
            assert paths == sorted(paths, key=lambda path: (path.split("_")[0], path))
            assert paths[:3] == [f"stage1_block{i}/conv{j}/kernel" for i, j in ((1, 1), (1, 2), (2, 1))]

    def test_one_number_for_all_takes_the_place_of_the_list(self):
        made = config("cifar10/bdbnn_resnet20")
        options = next(loss.term for loss in made.losses if loss.name == "kurtosis")
        options.target = 1.2
        with pytest.raises(ValueError, match="for one number for all"):
            options.build()
        options.targets = ""
        assert set(options.build().targets(shapes(made.model)).values()) == {1.2}


class TestCifar:
    @pytest.mark.parametrize("name", CIFAR)
    def test_coefficients_and_hyperparameters_are_the_released_ones(self, name):
        made = config(f"cifar10/bdbnn_{name}")
        first = stage(made, "real_weights")
        assert {loss.name: loss.weight for loss in first.losses} == {"cross_entropy": 1.0, "kurtosis": 1.0}
        weights = {loss.name: loss.weight for loss in made.losses}
        assert weights == {"cross_entropy": 1.0, "kurtosis": 1.0, "mimicking": 200.0, "distillation": 0.9}
        for one in (first, made):
            assert (one.data.batch_size, one.optimizer.weight_decay, one.optimizer.decay_binarized) == (256, 1e-4, True)
            assert one.model.activations.t_min == 1e-2
        assert (made.init_from, made.teacher.source) == ("real_weights", "real_weights")

    @pytest.mark.parametrize(("name", "count"), list(zip(CIFAR, (19, 18, 5), strict=True)))
    def test_student_and_teacher_share_all_weights_that_are_mimicked(self, name, count):
        made = config(f"cifar10/bdbnn_{name}")
        first = stage(made, "real_weights").model
        assert made.model.weights is not None
        assert (first.weights, first.activations is None) == (None, False)
        student, teacher = shapes(made.model), shapes(first)
        value = jax.eval_shape(lambda a, b: term(made, "mimicking")(outputs(a, b)), student, teacher)
        assert value.shape == ()
        assert len(term(made, "kurtosis").targets(student)) == count

    def test_what_is_set_in_one_stage_is_set_in_that_one(self):
        made = config("cifar10/bdbnn_resnet20")
        made.stages[0].config.model.activations.t_min = 0.5
        made.stages[0].config.optimizer.learning_rate = 0.5
        assert (made.model.activations.t_min, made.optimizer.learning_rate) == (1e-2, 0.1)
        assert made.stages[0].config.data.source is made.data.source

    def test_the_first_convolution_is_left_out_of_both_terms(self):
        made = config("cifar10/bdbnn_resnet20")
        params = init_variables(made.model.build(num_classes=10), jax.random.key(0), (32, 32, 3))["params"]
        other = {**params, "stem_conv": jax.tree.map(lambda w: jnp.exp(9 * w), params["stem_conv"])}
        assert float(term(made, "mimicking")(outputs(other, params))) == 0
        kurtosis = term(made, "kurtosis")
        flat = flatten_dict(params, sep="/")
        expected = [(reference.kurtosis(flat[path]) - t) ** 2 for path, t in kurtosis.targets(params).items()]
        np.testing.assert_allclose(float(kurtosis(outputs(other, params))), np.mean(expected), 1e-4)


class TestImageNet:
    MADE = config("imagenet/bdbnn_react_resnet18")

    def test_the_student_learns_from_logits_and_kurtosis_alone_and_starts_from_the_first_stage(self):
        first = stage(self.MADE, "real_weights")
        assert {loss.name: loss.weight for loss in first.losses} == {"cross_entropy": 1.0, "kurtosis": 1.0}
        assert {loss.name: loss.weight for loss in self.MADE.losses} == {"distillation": 0.9, "kurtosis": 1.0}
        assert (self.MADE.init_from, self.MADE.teacher.source) == ("real_weights", "teacher")
        assert (first.model.weights, self.MADE.model.weights is None) == (None, False)

    def test_adam_with_a_linear_rate_and_decay_in_the_first_stage_alone(self):
        first = stage(self.MADE, "real_weights")
        for one, decay in ((first, 1e-5), (self.MADE, 0.0)):
            assert (one.data.batch_size, one.optimizer.learning_rate, one.epochs) == (512, 2.5e-3, 128)
            assert one.optimizer.weight_decay == decay
            assert type(one.optimizer.transform).__name__ == optimizer.adam.__name__
            assert type(one.optimizer.schedule).__name__ == schedules.linear.__name__

    def test_kernels_of_convolutions_and_shifts_decay(self):
        # In the release: what has four dimensions, as its shifts have, or "conv" in its name.
        first = stage(self.MADE, "real_weights")
        mask = flatten_dict(decay_mask(shapes(first.model, (224, 224, 3)), {}, first.optimizer))
        for path, decays in mask.items():
            released = (path[-1] == "kernel" and path[0] != "classifier") or "shift" in path[-1]
            assert decays == released, path
