"""Command lines checked against a config before anything runs."""

import re
import sys

import pytest
from absl import flags
from ml_collections import config_flags

from bnn_jax.binarizers import irnet, rebnn
from bnn_jax.config import LossConfig, TeacherConfig, check, component, flatten, override, to_dict
from bnn_jax.losses import cross_entropy
from bnn_jax.regularizers import kurtosis_term
from bnn_jax.training import schedules
from tests.ablation import tiny
from tests.training import toy


def config():
    return toy.config()


class TestAccepted:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["--config.epochs", "3"],
            ["--config.epochs=3"],
            ["-config.epochs=3"],
            ["--config.optimizer.learning_rate", "1e-3"],
            ["--config.optimizer.learning_rate", "1"],
            ["--config.optimizer.learning_rate", "-1"],
            ["--config.model.weights.code_rule", "angle"],
            ["--config.losses[0].weight", "0.5"],
            ["--config.losses[0].term.label_smoothing=0.1"],
            ["--config.data.flip"],
            ["--config.data.flip=false"],
            ["--noconfig.data.flip"],
            ["--config.data.source.directory="],
            ["--workdir", "somewhere", "--dry_run"],
        ],
    )
    def test_a_right_override_passes(self, arguments):
        check(config(), arguments)

    def test_a_float_field_that_holds_a_whole_number_takes_a_fraction(self):
        changed = config()
        changed.optimizer.weight_decay = 0
        check(changed, ["--config.optimizer.weight_decay", "5e-4"])


class TestUnknownFields:
    @pytest.mark.parametrize(
        ("argument", "nearest"),
        [
            ("--config.epoch", "epochs"),
            ("--config.optimizer.learning_rte", "optimizer.learning_rate"),
            ("--config.learning_rate", "optimizer.learning_rate"),
            ("--config.model.wieghts.code_rule", "model.weights.code_rule"),
            ("--config.losses[0].wait", "losses[0].weight"),
            ("--noconfig.data.flp", "data.flip"),
        ],
    )
    def test_the_nearest_field_is_named(self, argument, nearest):
        with pytest.raises(ValueError, match=re.escape(f"(did you mean 'config.{nearest}'?)")):
            check(config(), [argument, "1"])

    def test_a_list_is_said_to_be_one(self):
        with pytest.raises(ValueError, match=r"config\.losses is a list of \d: write config\.losses\[0\]\.weight for"):
            check(config(), ["--config.losses.weight", "1"])

    def test_the_name_of_an_item_is_known(self):
        made = config()
        place, name = len(made.losses) - 1, made.losses[-1].name
        with pytest.raises(ValueError, match=re.escape(f"write config.losses[{place}]. for its {name!r}")):
            check(made, [f"--config.losses.{name}.weight", "1"])

    def test_what_only_a_file_can_change_is_said_to_be_so(self):
        made = tiny.ablation()
        with pytest.raises(
            ValueError, match=r"--config\.variants \(.*mimic = 0\.5\) can only be changed in the config file"
        ):
            check(made, ["--config.variants", "x"])

    def test_the_fields_that_are_there_are_listed(self):
        with pytest.raises(ValueError, match=r"config\.run has no field 'zzz'; it has \['log_every'"):
            check(config(), ["--config.run.zzz", "1"])

    def test_a_field_within_a_plain_value_does_not_exist(self):
        with pytest.raises(ValueError, match=r"config\.epochs has no field 'x'"):
            check(config(), ["--config.epochs.x", "1"])

    def test_the_first_of_several_wrong_overrides_is_reported_after_right_ones(self):
        with pytest.raises(ValueError, match="epocs"):
            check(config(), ["--config.seed", "1", "--config.epocs", "1"])


class TestListIndices:
    def test_an_index_beyond_the_list_is_refused_with_its_length(self):
        with pytest.raises(ValueError, match=r"losses has 1 items, there is no \[1\]"):
            check(config(), ["--config.losses[1].weight", "1"])

    def test_a_second_item_is_found(self):
        changed = config()
        changed.losses.append(LossConfig("smooth", component(cross_entropy)))
        check(changed, ["--config.losses[1].weight", "1"])
        with pytest.raises(ValueError, match="expected float"):
            check(changed, ["--config.losses[1].weight", "much"])

    def test_an_item_of_a_tuple_is_refused(self):
        changed = config()
        pairs = (("conv1", 1.2), ("", 1.6))
        changed.losses.append(LossConfig("kurtosis", component(kurtosis_term, targets=pairs)))
        message = "losses[1].term.targets[0][1]: losses[1].term.targets[0] is no list; set it as a whole, now ('conv1'"
        with pytest.raises(ValueError, match=re.escape(message)):
            check(changed, ["--config.losses[1].term.targets[0][1]", "1.3"])
        with pytest.raises(ValueError, match=re.escape(message)):
            override(changed, "losses[1].term.targets[0][1]", 1.3)

    def test_an_optional_tuple_that_is_none_takes_one_as_the_flag_does(self, monkeypatch):
        changed = config()
        changed.model.weights = component(rebnn)
        assert changed.model.weights.clip is None
        command = ["program", "--config.model.weights.clip=(1e-5, 2e-4)"]
        check(changed, command)
        monkeypatch.setattr(sys, "argv", command)
        values = flags.FlagValues()
        config_flags.DEFINE_config_dataclass("config", changed, flag_values=values)
        values(command)
        assert values.config.model.weights.build() is rebnn(clip=(1e-5, 2e-4))

    def test_an_index_into_what_is_no_list_is_refused(self):
        with pytest.raises(ValueError, match=r"epochs has no items"):
            check(config(), ["--config.epochs[0]", "1"])


class TestWrongTypes:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--config.epochs", "2.5"], "config.epochs: expected int like 4, found '2.5'"),
            (["--config.epochs=many"], "expected int like 4, found 'many'"),
            (["--config.optimizer.learning_rate", "big"], "expected float like 0.1, found 'big'"),
            (["--config.data.flip=maybe"], "expected bool like False, found 'maybe'"),
            (["--config.epochs"], "config.epochs needs a value, e.g. --config.epochs 4"),
            (["--config.epochs", "--dry_run"], "config.epochs needs a value"),
            (["--config.optimizer", "adam"], "config.optimizer holds several fields: override one of them"),
            (["--config.data.source", "cifar10"], "(count, directory)"),
            (["--config.losses[0].schedule", "x"], "losses[0].schedule is None"),
            (["--noconfig.epochs"], "epochs is not true or false"),
        ],
    )
    def test_a_value_of_another_type_is_refused_with_an_example(self, arguments, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            check(config(), arguments)

    def test_true_or_false_as_a_word_of_its_own_is_refused_with_the_right_spelling(self):
        # The flag parser would read the flag as true and stumble over the word.
        with pytest.raises(ValueError, match=r"write --config\.data\.flip=false"):
            check(config(), ["--config.data.flip", "false"])


class TestOverride:
    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("epochs", 9),
            ("optimizer.learning_rate", 1),
            ("optimizer.learning_rate", 0.5),
            ("data.flip", True),
            ("init_from", "runs/other"),
            ("losses[0].weight", 0.25),
            ("losses[0].term.label_smoothing", 0.1),
            ("model.weights", None),
            ("model.weights", component(irnet)),
            ("losses[0].schedule", component(schedules.cosine)),
            ("teacher", TeacherConfig("runs/other")),
            ("teacher", None),
            ("losses[0]", LossConfig("other", component(cross_entropy), 3.0)),
            ("losses", []),
        ],
    )
    def test_it_sets_that_field_and_no_other(self, path, value):
        changed = config()
        override(changed, path, value)
        before, after = (flatten(to_dict(one)) for one in (config(), changed))
        inside = re.compile(re.escape(path) + r"($|[.[])")
        assert {n: v for n, v in after.items() if inside.match(n)} == flatten(to_dict(value), path)
        assert {n: v for n, v in after.items() if not inside.match(n)} == {
            n: v for n, v in before.items() if not inside.match(n)
        }

    @pytest.mark.parametrize(
        ("path", "value", "message"),
        [
            ("epocs", 3, "config has no field 'epocs' (did you mean 'config.epochs'?)"),
            ("losses[0].wait", 1.0, "config.losses[0] has no field 'wait' (did you mean 'config.losses[0].weight'?)"),
            ("losses[1].weight", 1.0, "losses has 1 items, there is no [1]"),
            ("epochs", 2.5, "epochs: expected int like 4, found 2.5"),
            ("epochs", True, "epochs: expected int like 4, found True"),
            ("epochs", None, "epochs: expected int like 4, found None"),
            ("optimizer.learning_rate", "0.1", "optimizer.learning_rate: expected float like 0.1, found '0.1'"),
            ("data.flip", 1, "data.flip: expected bool like False, found 1"),
            ("model.weights", "irnet", "model.weights: expected component like siman("),
            ("data", 5, "data: expected DataConfig like DataConfig("),
        ],
    )
    def test_a_wrong_path_or_value_is_refused_and_changes_nothing(self, path, value, message):
        changed = config()
        with pytest.raises(ValueError, match="^" + re.escape(message)):
            override(changed, path, value)
        assert to_dict(changed) == to_dict(config())
