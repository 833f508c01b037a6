"""Functions and their options as typed pieces of a config."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax import binarizers, models
from bnn_jax.config import Component, component, to_dict
from bnn_jax.config.component import resolve, target_of
from bnn_jax.regularizers import kurtosis_term


def scaled(size: int, *, factor: float = 2.0, name: str = "plain", parts: tuple = (), extra: dict | None = None):
    return size, factor, name, parts, extra


def leaf(value: int = 1) -> int:
    return 10 * value


def refusing(value: int = 1) -> int:
    if not value:
        raise ValueError(f"leaf refuses {value}")
    return value


def aim(target: float = 1.0) -> float:
    return target


def listed(values: list[int] = [1, 2], **more: int):  # noqa: B006
    return values, more


class Holder:
    def __init__(self, width: int = 3):
        self.width = width


class TestFields:
    def test_options_with_a_default_become_fields_of_their_annotated_types(self):
        fields = {f.name: (f.type, f.default) for f in dataclasses.fields(component(scaled))}
        assert fields["factor"] == (float, 2.0)
        assert fields["name"] == (str, "plain")
        assert fields["extra"] == (dict | None, None)
        assert "size" not in fields

    @pytest.mark.parametrize(("options", "kind"), [({}, str), ({"targets": (1.2, 1.4)}, tuple)])
    def test_an_option_of_several_types_has_that_of_its_value(self, options, kind):
        kinds = {f.name: f.type for f in dataclasses.fields(component(kurtosis_term, **options))}
        assert kinds["targets"] is kind
        assert kinds["target"] == (float | None)

    def test_given_options_replace_the_defaults_and_can_be_changed_later(self):
        made = component(scaled, factor=3.0)
        assert made.build(size=1)[:3] == (1, 3.0, "plain")
        made.name = "other"
        assert made.build(size=1)[:3] == (1, 3.0, "other")

    def test_a_given_argument_without_a_default_becomes_a_field_and_is_no_runtime_argument(self):
        made = component(scaled, size=7)
        assert made.build()[0] == 7
        assert [f.type for f in dataclasses.fields(made) if f.name == "size"] == [int]

    def test_starred_parameters_are_no_options(self):
        assert [f.name for f in dataclasses.fields(component(listed))] == ["values"]

    def test_a_nested_components_field_has_its_own_type_so_that_its_fields_can_be_overridden(self):
        made = component(models.resnet20, weights=component(binarizers.siman))
        kinds = {f.name: f.type for f in dataclasses.fields(made)}
        assert issubclass(kinds["weights"], Component)
        assert "num_classes" not in kinds
        made.weights.code_rule = "angle"
        weight = jnp.asarray(np.random.default_rng(0).laplace(size=(99, 2)))
        codes = [b.apply(weight) > 0 for b in (made.build(num_classes=3).parts.weights, binarizers.siman("angle"))]
        np.testing.assert_array_equal(*codes)
        assert (codes[0].sum(0) < 49).all()

    def test_a_class_can_be_a_target(self):
        made = component(Holder, width=5)
        assert made.build().width == 5
        assert resolve(target_of(made)) is Holder

    def test_an_option_may_be_called_target(self):
        made = component(aim, target=2.0)
        assert (made.target, made.build()) == (2.0, 2.0)
        assert to_dict(made)["target"] == 2.0

    def test_two_components_of_one_target_do_not_share_what_is_assigned(self):
        first, second = component(leaf), component(leaf)
        first.value = 9
        assert second.build() == 10


class TestBuild:
    def test_nested_components_are_built_first_those_in_tuples_and_lists_too(self):
        made = component(scaled, parts=(component(leaf), 5, [component(leaf, value=3)]))
        assert made.build(size=0)[3] == (10, 5, [30])

    def test_a_missing_runtime_argument_fails_with_its_name(self):
        with pytest.raises(TypeError, match="size"):
            component(scaled).build()

    @pytest.mark.parametrize(
        ("place", "message"),
        [((), "leaf refuses 0"), (("parts",), "parts: leaf"), (("extra", "extra"), "extra.extra: leaf")],
    )
    def test_a_refusal_begins_with_the_fields_that_hold_what_refuses(self, place, message):
        made = component(refusing, value=0)
        for field in place:
            made = component(scaled, size=1, **{field: made})
        with pytest.raises(ValueError, match=f"^{message}"):
            made.build()

    def test_a_component_is_built_anew_each_time(self):
        made = component(Holder)
        assert made.build() is not made.build()


class TestRefusals:
    def test_an_unknown_option_names_the_nearest_and_all_others(self):
        expected = r"scaled has no option 'facter' \(did you mean 'factor'\?\).*factor, name, parts, extra"
        with pytest.raises(TypeError, match=expected):
            component(scaled, facter=1.0)

    def test_an_option_unlike_all_others_is_refused_without_a_guess(self):
        with pytest.raises(TypeError, match=r"scaled has no option 'zzz'; its options"):
            component(scaled, zzz=1)

    @pytest.mark.parametrize("target", ["bnn_jax.models:no_such_network", "no_such_module:f"])
    def test_a_target_that_is_not_installed_is_named(self, target):
        with pytest.raises(ValueError, match=f"config names '{target}', which this installation does not have"):
            resolve(target)
