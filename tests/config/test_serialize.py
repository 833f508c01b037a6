"""Configs as dictionaries and back, and what differs between two."""

import copy
import json

import pytest
from ml_collections.config_flags import config_path

from bnn_jax.config import Config, DataConfig, LossConfig, check, component, differences, flatten, from_dict
from bnn_jax.config.file import check_command_line, load
from bnn_jax.config.serialize import to_dict
from bnn_jax.losses import cross_entropy
from tests.conftest import ROOT
from tests.training import toy

FILES = sorted(
    path
    for path in (ROOT / "configs").rglob("*.py")
    if path.parent.name != "ablations" and not path.name.startswith("_")
)


def with_tuple(sizes: tuple[int, ...] = (1, 2), nested: tuple = ()):
    return sizes, nested


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
class TestConfigFiles:
    def test_it_survives_json_with_every_type_and_field(self, path):
        config = load(path)
        assert isinstance(config, Config)
        again = from_dict(json.loads(json.dumps(to_dict(config))))
        assert to_dict(again) == to_dict(config)
        assert differences(config, again) == []
        assert type(again.data) is DataConfig
        assert [type(loss) for loss in again.losses] == [LossConfig] * len(config.losses)
        assert again.model.build(num_classes=10) == config.model.build(num_classes=10)

    def test_each_call_gives_a_config_of_its_own(self, path):
        first = load(path)
        first.optimizer.learning_rate = 17.0
        first.losses[0].weight = 17.0
        first.model.weights.code_rule = "changed"
        assert "changed" not in str(to_dict(load(path)))
        assert "17.0" not in str(to_dict(load(path)))

    def test_its_docstring_holds_the_command_that_runs_it(self, path):
        assert f"python train.py --config {path.relative_to(ROOT)} --workdir runs/" in path.read_text()

    def test_every_plain_field_can_be_overridden_with_its_own_value(self, path):
        config = load(path)
        plain = {name: value for name, value in flatten(to_dict(config)).items() if not name.endswith("()")}
        for name, value in plain.items():
            if value is not None and not _is_in_tuple(config, name):
                check(config, [f"--config.{name}={value}"])
                # Raises where a command line could not tell of which type a value is.
                config_path.get_type(name, config)


def _is_in_tuple(config, name):
    return name.endswith("]") and isinstance(config_path.get_value(name.rpartition("[")[0], config), tuple)


def test_there_are_config_files():
    assert {"siman_resnet20", "siman_resnet18", "siman_vgg_small", "siman_digits"} <= {p.stem for p in FILES}


class TestRoundTrip:
    def test_tuples_return_as_tuples_and_the_list_of_losses_as_a_list(self):
        config = toy.config()
        config.data.source = component(with_tuple, sizes=(3, 4), nested=((1, 2), component(with_tuple)))
        again = from_dict(json.loads(json.dumps(to_dict(config))))
        assert again.data.source.sizes == (3, 4)
        assert again.data.source.build() == ((3, 4), ((1, 2), ((1, 2), ())))
        assert isinstance(again.losses, list)

    def test_a_loss_schedule_survives(self):
        config = toy.config(losses=[LossConfig("a", component(cross_entropy), 0.5, component(with_tuple))])
        again = from_dict(json.loads(json.dumps(to_dict(config))))
        assert again.losses[0].schedule.build() == ((1, 2), ())
        assert again.losses[0].weight == 0.5

    def test_changes_survive(self):
        config = toy.config()
        config.model.weights.code_rule = "angle"
        config.run.log_every = 99
        again = from_dict(to_dict(config))
        assert again.model.weights.code_rule == "angle"
        assert again.run.log_every == 99

    def test_a_field_this_version_does_not_have_is_refused_by_name(self):
        plain = to_dict(toy.config())
        with pytest.raises(TypeError, match="wings"):
            from_dict({**plain, "wings": 2})
        plain["model"]["wings"] = 2
        with pytest.raises(TypeError, match="wings"):
            from_dict(plain)

    def test_a_component_this_version_does_not_have_is_refused_by_name(self):
        plain = to_dict(toy.config())
        plain["model"]["()"] = "bnn_jax.models:perceptron"
        with pytest.raises(ValueError, match=r"bnn_jax\.models:perceptron"):
            from_dict(plain)


class TestDifferences:
    def test_the_same_config_differs_in_nothing(self):
        assert differences(toy.config(), toy.config()) == []

    def test_each_difference_is_a_line_with_both_values(self):
        changed = toy.config(seed=3)
        changed.model.weights.code_rule = "angle"
        changed.losses[0].term.label_smoothing = 0.1
        assert differences(toy.config(), changed) == [
            "model.weights.code_rule: 'half' -> 'angle'",
            "losses[0].term.label_smoothing: 0.0 -> 0.1",
            "seed: 0 -> 3",
        ]

    def test_another_component_and_the_options_it_brings_are_named(self):
        changed = toy.config()
        changed.model.weights = component(with_tuple)
        found = differences(toy.config(), changed)
        assert any(line.startswith("model.weights.(): 'bnn_jax.binarizers.siman:siman' ->") for line in found)
        assert "model.weights.code_rule: 'half' -> '(absent)'" in found

    def test_a_further_loss_is_a_difference_in_either_direction(self):
        longer = toy.config()
        longer.losses.append(LossConfig("more", component(cross_entropy)))
        assert "losses[1].name: '(absent)' -> 'more'" in differences(toy.config(), longer)
        assert "losses[1].name: 'more' -> '(absent)'" in differences(longer, toy.config())

    def test_how_a_run_goes_about_it_and_where_its_data_lies_do_not_count(self):
        changed = copy.deepcopy(toy.config())
        changed.run.log_every += 1
        changed.run.checkpoint_every += 1
        changed.data.source.directory = "elsewhere"
        assert differences(toy.config(), changed) == []


class TestConfigFileErrors:
    def test_a_missing_file_names_those_beside_it(self, tmp_path):
        near = toy.config_file(tmp_path)
        with pytest.raises(FileNotFoundError, match=f"no config file .*absent.py; there are: {near}"):
            load(tmp_path / "absent.py")
        with pytest.raises(FileNotFoundError, match="no config file"):
            load(tmp_path / "no_folder" / "absent.py")

    def test_a_file_without_get_config_says_what_it_needs(self, tmp_path):
        path = tmp_path / "empty.py"
        path.write_text("")
        with pytest.raises(ValueError, match=r"empty\.py defines no get_config\(\)"):
            load(path)

    @pytest.mark.parametrize("spelling", ["--config {}", "--config={}", "-config {}"])
    def test_the_overrides_of_a_command_line_are_checked_against_its_file(self, tmp_path, spelling):
        arguments = spelling.format(toy.config_file(tmp_path)).split()
        check_command_line([*arguments, "--config.epochs", "2"])
        with pytest.raises(ValueError, match=r"did you mean 'config\.epochs'"):
            check_command_line([*arguments, "--config.epoch", "2"])
