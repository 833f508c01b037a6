"""Recipes of several stages."""

import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import chex
import jax
import numpy as np
import pytest

from bnn_jax.config import StageConfig, TeacherConfig, differences, from_dict, to_dict
from bnn_jax.evaluation.runs import reopen
from bnn_jax.training import recipe as recipes
from bnn_jax.training import session, stages, workdir
from bnn_jax.training.assembly import assemble
from bnn_jax.training.optimizer import decay_mask
from bnn_jax.training.outcome import Outcome
from bnn_jax.training.recipe import needed
from bnn_jax.training.state import LOSSES
from tests.training import toy
from tests.training.test_parallel import launch


def recipe(**changes):
    """A float teacher, a network that starts from it, and one that starts from that and mimics the teacher."""
    float_ = toy.config(epochs=1, seed=5)
    float_.model.weights = float_.model.activations = None
    middle = toy.config(epochs=1, init_from="teacher")
    made = toy.config(
        epochs=2,
        losses=[*toy.config().losses, toy.mimic_loss()],
        teacher=TeacherConfig("teacher", "best"),
        init_from="middle",
        stages=[StageConfig("teacher", float_), StageConfig("middle", middle)],
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


class TestPlan:
    def test_a_plain_config_is_one_run(self):
        config = toy.config()
        assert stages.plan(config, Path("w")) == [stages.Run("", config, Path("w"))]

    def test_stages_run_in_order_in_folders_of_their_own(self):
        made = recipe()
        runs = stages.plan(made, Path("w"))
        assert [(run.name, run.workdir) for run in runs] == [
            ("teacher", Path("w/teacher")),
            ("middle", Path("w/middle")),
            ("", Path("w")),
        ]
        assert runs[-1].config is made
        assert [stage.name for stage in runs[1].config.stages] == ["teacher"]

    def test_stages_nothing_refers_to_are_left_out(self):
        names = [run.name for run in stages.plan(recipe(init_from=""), None)]
        assert names == ["teacher", ""]
        elsewhere = recipe(init_from="", teacher=TeacherConfig("runs/other"))
        assert [run.name for run in stages.plan(elsewhere, None)] == [""]

    @pytest.mark.parametrize(
        ("made", "message"),
        [
            ([StageConfig("a", toy.config()), StageConfig("a", toy.config())], "different names"),
            ([StageConfig("a/b", toy.config())], "cannot name the folder"),
            ([StageConfig("checkpoints", toy.config())], "cannot name the folder"),
            ([StageConfig("tensorboard", toy.config())], "cannot name the folder"),
            ([StageConfig("a", recipe())], "has stages itself"),
        ],
    )
    def test_impossible_lists_are_refused(self, made, message):
        with pytest.raises(ValueError, match=message):
            stages.plan(toy.config(stages=made), None)

    def shown(self, capsys, made):
        sessions = recipes.prepare(made, None, dry=True)
        for described in sessions:
            described.describe(show_config=True, elsewhere=[one.name for one in sessions])
        return [line.split() for line in capsys.readouterr().out.splitlines() if line]

    def test_each_field_is_shown_once_and_how_a_stages_is_called(self, capsys):
        lines = self.shown(capsys, recipe())
        assert [words[0] for words in lines].count("optimizer.learning_rate") == 3
        assert [words for words in lines if words[0].startswith("stages[")] == [
            ["stages[0].config.FIELD", "FIELD", "of", "stage", "'teacher'"],
            ["stages[1].config.FIELD", "FIELD", "of", "stage", "'middle'"],
        ]

    def test_so_are_those_of_a_stage_that_is_not_to_be_run(self, capsys):
        names = [words[0] for words in self.shown(capsys, recipe(init_from=""))]
        assert [name for name in names if name.endswith("optimizer.learning_rate")] == [
            "optimizer.learning_rate",
            "optimizer.learning_rate",
            "stages[1].config.optimizer.learning_rate",
        ]

    def test_a_stage_finds_its_predecessor_beside_it(self, tmp_path):
        middle = stages.plan(recipe(), tmp_path)[1]
        (tmp_path / "teacher").mkdir()
        (tmp_path / "teacher" / "config.json").write_text("{}")
        assert stages.locate("teacher", middle.config, middle.workdir) == tmp_path / "teacher"
        assert stages.locate("teacher", recipe(), tmp_path) == tmp_path / "teacher"
        assert stages.locate("elsewhere/run", recipe(), tmp_path) == Path("elsewhere/run")


class TestConfig:
    def test_it_survives_json(self):
        assert differences(from_dict(to_dict(recipe())), recipe()) == []
        assert to_dict(from_dict(to_dict(recipe()))) == to_dict(recipe())

    def test_how_stages_are_run_and_where_data_lies_may_change(self):
        changed = recipe()
        changed.stages[0].config.run.log_every = 1
        changed.stages[0].config.data.source.directory = "/elsewhere"
        assert differences(recipe(), changed) == []
        changed.stages[0].config.epochs = 9
        assert differences(recipe(), changed) == ["stages[0].config.epochs: 1 -> 9"]


FILE = "from tests.training import test_stages\n\ndef get_config():\n    return test_stages.recipe()\n"


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "recipe.py"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def whole(run_python, config_file, tmp_path_factory):
    """The folder of a run never stopped, and what was printed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, run_python(["train.py", "--config", config_file, "--workdir", folder])


class TestCommands:
    """`train.py` and `eval.py` in processes of their own."""

    def test_one_command_runs_all_and_again_runs_none(self, run_python, config_file, whole):
        folder, printed = whole
        for heading in ("Plan of stage 'teacher'", "Plan of stage 'middle'", "Finished"):
            assert heading in printed
        assert "Stage 'teacher' is" not in printed
        state, _ = toy.stored(folder, recipe())
        assert int(state.step) == 20
        teacher, _ = toy.stored(folder / "teacher", stages.plan(recipe(), folder)[0].config)
        toy.assert_identical(state.teacher, teacher.variables)
        again = run_python(["train.py", "--config", config_file, "--workdir", folder])
        assert "Plan of stage 'teacher'" not in again
        assert f"Stage 'teacher' is done: {folder / 'teacher'}" in again
        assert "Plan of the last stage" in again
        assert "continue after step 20" in again

    def test_two_processes_train_every_stage_to_the_same_end(self, config_file, whole, tmp_path):
        for status, output in launch(tmp_path / "two", processes=2, devices=1, config=config_file):
            assert status == 0, output
        expected, _ = toy.stored(whole[0], recipe())
        found, _ = toy.stored(tmp_path / "two", recipe())
        assert int(found.step) == 20
        chex.assert_trees_all_close(found.teacher, expected.teacher, rtol=1e-3, atol=1e-4)

    def test_every_stage_can_be_evaluated(self, run_python, whole):
        for folder in ("", "middle"):
            assert "359" in run_python(["eval.py", "--workdir", whole[0] / folder])

    def test_a_run_stopped_in_any_stage_ends_like_one_never_stopped(self, run_python, config_file, whole, tmp_path):
        command = ["train.py", "--config", config_file, "--workdir", tmp_path / "stopped"]
        # Batches are counted anew in each process: the first is stopped in one stage, the next in the next two.
        for ambush in ("SIGTERM@5", "SIGTERM@9", "SIGTERM@12"):
            run_python(command, env={"BNN_TOY_AMBUSH": ambush}, fails=True)
        run_python(command)
        for run in stages.plan(recipe(), whole[0]):
            toy.assert_same_run(tmp_path / "stopped" / run.name, whole[0] / run.name, run.config)

    def test_what_will_not_fit_is_refused_before_the_first_stage_runs(self, run_python, config_file, tmp_path):
        wide = "--config.model.width=6"
        error = run_python(["train.py", "--config", config_file, wide, "--workdir", tmp_path / "w"], fails=True)
        assert (
            "the weights of init_from = 'middle' (a stage, with a network and data of its own: what is set here"
            in error
        )
        assert not (tmp_path / "w").exists()


def test_a_loss_learns_with_the_optimizer():
    config = toy.config(epochs=1, losses=[*toy.config().losses, toy.mimic_loss()], teacher=TeacherConfig("teacher"))
    config.stages = [StageConfig("teacher", toy.config())]
    experiment = assemble(config)
    state = experiment.init_state()
    batch = {"image": np.zeros((1, 16, 8, 8, 1), np.uint8), "label": np.zeros((1, 16), np.int32)}
    before = np.asarray(state.params[LOSSES]["mimic"]["gain"])
    state, metrics = experiment.train_step(jax.device_put(state), batch)
    after = np.asarray(state.params[LOSSES]["mimic"]["gain"])
    assert not np.array_equal(before, after)
    assert np.isfinite(float(metrics.terms["mimic"]))


@pytest.mark.parametrize("decay_binarized", [False, True])
def test_what_a_loss_learns_is_not_decayed_unless_forced(decay_binarized):
    config = toy.config().optimizer
    config.decay_binarized = decay_binarized
    params = {"conv": {"kernel": np.zeros((2, 2))}, LOSSES: {"mimic": {"gain": np.ones(())}}}
    assert decay_mask(params, {}, config) == {"conv": {"kernel": True}, LOSSES: {"mimic": {"gain": False}}}
    config.force_decay = "mimic/gain"
    assert decay_mask(params, {}, config)[LOSSES]["mimic"]["gain"]


class TestNeeded:
    """Which stages of a recipe are run, by what has begun and what is finished."""

    def names(self, **at):
        """Steps taken in "teacher", "middle" and the last run, each of ten."""
        made = [
            SimpleNamespace(name=run.name, config=run.config, begun=step > 0, finished=step >= 10)
            for run in stages.plan(recipe(), None)
            for step in [at[run.name or "last"]]
        ]
        return [one.name for one in needed(made)]

    @pytest.mark.parametrize(
        ("teacher", "middle", "last", "expected"),
        [
            (0, 0, 0, ["teacher", "middle", ""]),
            (4, 0, 0, ["teacher", "middle", ""]),
            (10, 0, 0, ["middle", ""]),
            (10, 10, 0, [""]),
            (10, 10, 10, [""]),
            # Folders that are gone: what a run took from them it has kept.
            (0, 0, 3, [""]),
            (0, 4, 0, ["teacher", "middle", ""]),  # the last one still needs the teacher
            (0, 10, 0, ["teacher", ""]),
        ],
    )
    def test_those_that_something_still_to_begin_builds_on(self, teacher, middle, last, expected):
        assert self.names(teacher=teacher, middle=middle, last=last) == expected


@pytest.mark.parametrize(("name", "expected"), [("teacher", signal.SIGTERM), ("", 0)])
def test_a_signal_too_late_to_stop_a_stage_keeps_the_next_from_beginning(tmp_path, monkeypatch, name, expected):
    made = session.Session(toy.config(), tmp_path / "w", name)
    outcome = Outcome(40, 40, signal.SIGTERM, 0.5, 1)
    monkeypatch.setattr(session, "Loop", lambda *_: SimpleNamespace(run=lambda stop: outcome))
    monkeypatch.setattr(session, "draw_curves", lambda _: None)
    assert made.outcome is None
    assert made.train() == expected
    assert made.outcome is outcome


def test_a_run_that_has_begun_goes_on_without_its_teachers_folder(tmp_path):
    there = toy.config(epochs=1)
    workdir.claim(tmp_path / "there", there)
    toy.run(there, tmp_path / "there")
    config = toy.config(epochs=1, teacher=TeacherConfig(str(tmp_path / "there")))
    first = session.Session(config, tmp_path / "here")
    first.claim()
    toy.run(first.config, tmp_path / "here")
    shutil.rmtree(tmp_path / "there")
    again = session.Session(toy.config(epochs=1, teacher=TeacherConfig(str(tmp_path / "there"))), tmp_path / "here")
    assert again.finished
    assert again.experiment.teacher is not None
    reopen(tmp_path / "here")
    with pytest.raises(FileNotFoundError, match=r"teacher\.source"):
        session.Session(config, tmp_path / "elsewhere")


def test_during_its_stages_a_folder_belongs_to_its_recipe(tmp_path):
    runs = stages.plan(recipe(), tmp_path)
    for run in runs:
        workdir.claim(run.workdir, run.config)
    (tmp_path / "teacher" / "metrics.jsonl").write_text("something")
    assert workdir.verify(tmp_path, recipe())
    with pytest.raises(ValueError, match="holds a run of another config"):
        workdir.verify(tmp_path, toy.config())


def test_an_empty_source_is_no_teacher(tmp_path):
    config = toy.config(teacher=TeacherConfig(""))
    assert stages.plan(config, None)[0].config is config
    experiment = assemble(config)
    assert experiment.teacher is None
    assert experiment.start_state(tmp_path).teacher == {}


def test_an_unknown_checkpoint_is_refused_before_anything_is_run():
    with pytest.raises(ValueError, match=r"teacher\.checkpoint: expected one of .*found 'lst'"):
        assemble(recipe(teacher=TeacherConfig("teacher", "lst")))
