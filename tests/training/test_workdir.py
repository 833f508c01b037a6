"""The folder of a run: made by one config, refused to any other."""

import json
import os

import pytest

from bnn_jax.config import StageConfig, component, to_dict
from bnn_jax.training import workdir
from tests.training import toy


@pytest.fixture
def claimed(tmp_path):
    """A folder with a config and nothing else yet."""
    workdir.claim(tmp_path / "run", toy.config())
    return tmp_path / "run"


@pytest.fixture(params=["metrics.jsonl", "checkpoints/10"])
def begun(claimed, request):
    """A folder in which training was done."""
    made = claimed / request.param
    made.parent.mkdir(exist_ok=True)
    made.write_text("something")
    return claimed


class TestVerify:
    def test_an_absent_and_an_empty_folder_are_free(self, tmp_path):
        assert not workdir.verify(tmp_path / "absent", toy.config())
        assert not workdir.verify(tmp_path, toy.config())
        assert not (tmp_path / "absent").exists()

    def test_a_folder_of_the_same_config_holds_a_run(self, begun):
        assert workdir.verify(begun, toy.config())

    def test_another_config_is_refused_naming_each_field_and_both_values(self, begun):
        changed = toy.config(seed=7)
        changed.optimizer.learning_rate = 0.3
        with pytest.raises(ValueError, match="holds a run of another config") as caught:
            workdir.verify(begun, changed)
        message = str(caught.value)
        assert "optimizer.learning_rate: 0.1 -> 0.3" in message
        assert "seed: 0 -> 7" in message
        assert message.count("->") == 3  # with the heading
        assert "Use another --workdir" in message

    def test_of_many_differences_some_are_shown_and_the_rest_counted(self, begun):
        changed = toy.config(stages=[StageConfig("teacher", toy.config())])
        with pytest.raises(ValueError, match=r"\n  and \d+ more\nUse another --workdir") as caught:
            workdir.verify(begun, changed)
        assert str(caught.value).count("->") == 13  # with the heading

    def test_how_to_run_it_and_where_the_data_lies_may_change(self, begun):
        changed = toy.config()
        changed.run.log_every = 1
        changed.data.source.directory = "/elsewhere"
        assert workdir.verify(begun, changed)

    def test_a_run_that_could_not_begin_leaves_its_folder_to_another_config(self, claimed):
        (claimed / "metrics.jsonl").touch()
        (claimed / "checkpoints").mkdir()
        assert not workdir.verify(claimed, toy.config(seed=7))
        workdir.claim(claimed, toy.config(seed=7))
        assert workdir.read_config(claimed).seed == 7

    def test_a_folder_of_something_else_is_refused(self, tmp_path):
        (tmp_path / "thesis.txt").touch()
        with pytest.raises(ValueError, match=r"holds no config\.json of a run: use a new or empty folder"):
            workdir.verify(tmp_path, toy.config())

    def test_a_file_is_refused(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(ValueError, match="use a new or empty folder"):
            workdir.verify(tmp_path / "file", toy.config())

    def test_what_a_run_killed_in_its_first_moment_leaves_is_free(self, tmp_path, monkeypatch):
        def killed(*paths):
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            workdir.claim(tmp_path, toy.config())
        monkeypatch.undo()
        assert list(tmp_path.iterdir())
        assert not workdir.verify(tmp_path, toy.config())
        workdir.claim(tmp_path, toy.config())
        assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


class TestClaim:
    def test_it_makes_the_folder_and_its_parents_and_writes_the_config(self, tmp_path):
        workdir.claim(tmp_path / "a" / "b", toy.config())
        assert json.loads((tmp_path / "a" / "b" / "config.json").read_text()) == to_dict(toy.config())

    def test_a_second_claim_keeps_what_may_change(self, begun):
        changed = toy.config()
        changed.data.source.directory = "/elsewhere"
        workdir.claim(begun, changed)
        assert workdir.read_config(begun).data.source.directory == "/elsewhere"


class TestReadConfig:
    def test_it_gives_back_the_config_that_made_the_folder(self, claimed):
        assert to_dict(workdir.read_config(claimed)) == to_dict(toy.config())

    def test_a_folder_without_a_run_says_so(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"is not the folder of a run: .* train one with train\.py"):
            workdir.read_config(tmp_path)

    @pytest.mark.parametrize("damage", ["", "{", '{"model": 1, "wings": 2}', "[]", "3"])
    def test_a_config_that_cannot_be_read_is_named(self, claimed, damage):
        (claimed / "config.json").write_text(damage)
        with pytest.raises(ValueError, match=r"config\.json is not a config of this version"):
            workdir.read_config(claimed)

    def test_a_component_that_is_gone_is_named(self, claimed):
        plain = to_dict(toy.config(model=component(toy.network)))
        plain["model"]["()"] = "tests.training.toy:gone"
        (claimed / "config.json").write_text(json.dumps(plain))
        with pytest.raises(ValueError, match=r"tests\.training\.toy:gone"):
            workdir.read_config(claimed)


def test_json_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "some.json"
    workdir.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        workdir.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
