"""train.py and eval.py as a user runs them."""

import json
import os
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from bnn_jax.config import to_dict
from bnn_jax.config.file import load
from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.robustness.outcomes import UNKNOWN
from bnn_jax.training import workdir
from bnn_jax.training.assembly import assemble
from bnn_jax.training.checkpoint import Bookkeeping, Checkpoints
from tests.conftest import ROOT
from tests.training import toy

# Kills its own process at a moment during the third time it saves, whenever that is.
KILLED_WHILE_SAVING = """
    import os, runpy, signal, sys, threading
    from bnn_jax.training.checkpoint import Checkpoints

    saves, save = [], Checkpoints.save

    def watched(*args, **kwargs):
        saves.append(1)
        if len(saves) == 3:
            threading.Timer(0.03, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
        return save(*args, **kwargs)

    Checkpoints.save = watched
    sys.argv = ["train.py", *sys.argv[1:]]
    runpy.run_path("train.py", run_name="__main__")
"""


def command(name, *arguments, env=None, code=None):
    """Runs `name` with arguments; its exit status, output and errors."""
    program = ["-c", "\n".join(line[4:] for line in code.splitlines())] if code else [name]
    settings = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "XLA_FLAGS": toy.XLA_FLAGS.format(1)}
    done = subprocess.run(
        [sys.executable, *program, *map(str, arguments)],
        env={**os.environ, **settings, **(env or {})},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    return toy.config_file(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, config_file):
    """Folder of a run that never stopped, and what train.py printed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    status, output, errors = command("train.py", "--config", config_file, "--workdir", folder)
    assert status == 0, errors
    return folder, output


class TestTrain:
    def test_it_shows_network_plan_progress_and_where_everything_is(self, whole):
        folder, output = whole
        for part in ("classifier", "binarized:", "from the beginning", "step 40/40", "best test accuracy"):
            assert part in output
        assert f"python eval.py --workdir {folder}" in output
        assert {path.name for path in folder.iterdir()} == {
            "config.json",
            "summary.json",
            "metrics.jsonl",
            "curves.png",
            "checkpoints",
        }
        assert json.loads((folder / "config.json").read_text()) == to_dict(toy.config())

    @pytest.mark.parametrize(("number", "status"), [("SIGTERM", 143), ("SIGKILL", -9)])
    def test_a_run_ended_by_a_signal_and_continued_by_the_same_command_ends_as_one_never_stopped(
        self, whole, config_file, tmp_path, number, status
    ):
        arguments = ["--config", config_file, "--workdir", tmp_path / "run"]
        found, output, errors = command("train.py", *arguments, env={"BNN_TOY_AMBUSH": f"{number}@27"})
        assert found == status, errors
        step = Checkpoints(tmp_path / "run", read_only=True).latest_step
        if number == "SIGKILL":
            assert step in (10, 20)
        else:
            assert step % 10 != 0
            assert f"Stopped by signal 15 after step {step} of 40; saved" in output
        found, output, errors = command("train.py", *arguments)
        assert found == 0, errors
        assert f"continue after step {step}" in output
        toy.assert_same_run(tmp_path / "run", whole[0], toy.config())

    def test_control_c_saves_and_gives_the_shells_status(self, config_file, tmp_path):
        arguments = ["--config", config_file, "--workdir", tmp_path / "run"]
        status, output, errors = command("train.py", *arguments, env={"BNN_TOY_AMBUSH": "SIGINT@17"})
        assert status == 130, errors
        assert "Traceback" not in errors
        state, books = toy.stored(tmp_path / "run", toy.config())
        assert state.step == books.iterator["next_index"] > 0
        assert f"Stopped by signal 2 after step {state.step} of 40; saved. The same command continues." in output

    def test_a_run_killed_while_it_saves_is_continued_to_the_same_end(self, whole, config_file, tmp_path):
        arguments = ["--config", config_file, "--workdir", tmp_path / "run"]
        found, _, errors = command("train.py", *arguments, code=KILLED_WHILE_SAVING)
        assert found == -signal.SIGKILL, errors
        found, _, errors = command("train.py", *arguments)
        assert found == 0, errors
        toy.assert_same_run(tmp_path / "run", whole[0], toy.config())
        names = [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
        assert all(name.isdigit() for name in names)

    def test_a_finished_run_does_no_further_step(self, whole, config_file):
        folder, _ = whole
        before = (folder / "metrics.jsonl").read_bytes()
        status, output, errors = command("train.py", "--config", config_file, "--workdir", folder)
        assert status == 0, errors
        assert "continue after step 40" in output
        assert "Finished" in output
        assert (folder / "metrics.jsonl").read_bytes() == before

    def test_another_config_is_refused_naming_what_differs(self, whole, config_file):
        folder, _ = whole
        before = (folder / "config.json").read_bytes()
        status, _, errors = command(
            "train.py", "--config", config_file, "--workdir", folder, "--config.optimizer.learning_rate", "0.2"
        )
        assert status == 1
        assert errors.startswith("train.py: ")
        assert "optimizer.learning_rate: 0.1 -> 0.2" in errors
        assert "Traceback" not in errors
        assert (folder / "config.json").read_bytes() == before

    def test_a_folder_of_something_else_is_refused_and_left_alone(self, config_file, tmp_path):
        (tmp_path / "thesis.txt").touch()
        status, _, errors = command("train.py", "--config", config_file, "--workdir", tmp_path)
        assert status == 1
        assert errors.startswith("train.py: ")
        assert "use a new or empty folder" in errors
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_a_step_that_is_not_finite_ends_the_run_with_the_layer_and_a_good_checkpoint(self, config_file, tmp_path):
        status, _, errors = command(
            *("train.py", "--config", config_file, "--workdir", tmp_path / "run"),
            *("--config.optimizer.learning_rate", "1e30"),
        )
        assert status == 1
        assert "Traceback" not in errors
        assert "train.py: step 2 (epoch 1) is not finite: the output of layer " in errors
        config = workdir.read_config(tmp_path / "run")
        assert config.optimizer.learning_rate == 1e30
        state, _ = toy.stored(tmp_path / "run", config)
        assert state.step == 1
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))

    def test_a_dry_run_shows_the_overridden_config_and_writes_nothing(self, tmp_path):
        path = ROOT / "configs" / "digits" / "siman_digits.py"
        overrides = ["--config.model.width=2", "--config.model.weights.code_rule", "angle", "--config.data.flip"]
        status, output, errors = command(
            "train.py", "--config", path, "--workdir", tmp_path / "run", "--dry_run", "--config.epochs", "3", *overrides
        )
        assert status == 0, errors
        rows = [line.split() for line in output.splitlines()]
        for row in (["model.weights.code_rule", "angle"], ["model.width", "2"], ["data.flip", "True"]):
            assert row in rows
        assert ["steps", "66:", "3", "epochs", "of", "22"] in rows
        assert not (tmp_path / "run").exists()
        assert load(path).epochs == 40

    def test_a_dry_run_needs_no_data_of_a_published_set(self, tmp_path):
        path = ROOT / "configs" / "imagenet" / "lcr_resnet18.py"
        nowhere = dict.fromkeys(["HOME", "BNN_JAX_DATA", "TFDS_DATA_DIR"], str(tmp_path))
        status, output, errors = command("train.py", "--config", path, "--dry_run", env=nowhere)
        assert status == 0, errors
        assert output.count("imagenet: 1281167 training, 50000 test images (as published: it is not here)") == 2
        assert "Plan of stage 'teacher'" in output

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--dry_run", "--config.epoch", "3"], "did you mean 'config.epochs'?"),
            ([], "--workdir is needed"),
        ],
    )
    def test_a_wrong_command_line_is_refused_with_the_right_one(self, config_file, arguments, message):
        status, output, errors = command("train.py", "--config", config_file, *arguments)
        assert status == 1
        assert message in output + errors
        assert "Traceback" not in errors


class TestEval:
    def test_best_and_last_are_evaluated_exactly_on_screen_and_in_json(self, whole):
        folder, _ = whole
        status, output, errors = command("eval.py", "--workdir", folder)
        assert status == 0, errors
        found = json.loads((folder / "eval.json").read_text())
        logged = {r["step"]: r for r in toy.records(folder, "eval")}
        assert found["last"]["step"] == 40
        for name in ("best", "last"):
            result = found[name]
            record = logged[result["step"]]
            assert result["top1"] == record["accuracy"] == result["correct"] / 359
            assert result["top5"] == record["accuracy_top5"]
            assert result["loss"] == record["loss"]
            assert f"{100 * result['top1']:.2f}" in output
        best = max(record["accuracy"] for record in logged.values())
        assert found["best"]["top1"] == best
        assert found["best"]["step"] == min(s for s, r in logged.items() if r["accuracy"] == best)

    def test_a_folder_that_is_no_run_is_refused_in_one_line(self, tmp_path):
        status, _, errors = command("eval.py", "--workdir", tmp_path, "--report", "weights", "--against", tmp_path)
        assert status == 1
        assert "--against is for --report oscillation, found 'weights'" in errors
        status, _, errors = command("eval.py", "--workdir", tmp_path / "nowhere")
        assert status == 1
        assert errors.startswith("eval.py: ")
        assert "is not the folder of a run" in errors
        assert "Traceback" not in errors
        assert not (tmp_path / "nowhere").exists()

    def test_a_run_without_a_checkpoint_is_refused_in_one_line(self, tmp_path):
        workdir.claim(tmp_path, toy.config())
        status, _, errors = command("eval.py", "--workdir", tmp_path)
        assert status == 1
        assert errors.startswith("eval.py: ")
        assert "holds no checkpoint yet" in errors


def test_two_devices_evaluate_a_checkpoint_to_the_counts_of_one(tmp_path, config_file):
    workdir.claim(tmp_path, toy.config())
    checkpoints = Checkpoints(tmp_path)
    state = assemble(toy.config()).init_state()
    checkpoints.save(state.replace(step=np.asarray(10, np.int32)), Bookkeeping(), 0.3)
    checkpoints.close()
    results = []
    for devices in (1, 2):
        env = {"XLA_FLAGS": toy.XLA_FLAGS.format(devices)}
        status, _, errors = command("eval.py", "--workdir", tmp_path, env=env)
        assert status == 0, errors
        results.append(json.loads((tmp_path / "eval.json").read_text())["last"])
    one, two = results
    assert two.pop("loss") == pytest.approx(one.pop("loss"), rel=1e-6)
    assert one == two


class TestSuite:
    # A comma at the end is of no matter.
    LEFT_OUT = "--leave_out=" + "".join(f"{n}," for n in corruptions.ALL if n not in ("contrast", "gaussian_noise"))

    def test_a_suite_measures_shows_and_compares(self, whole, tmp_path):
        first, second = (tmp_path / name for name in ("first", "second"))
        for folder in (first, second):
            shutil.copytree(whole[0], folder)
        arguments = ["--suite", "corruptions", self.LEFT_OUT]
        status, output, errors = command("eval.py", "--workdir", first, *arguments)
        assert status == 0, errors
        assert "mean error over 2 corruptions, WITHOUT" in output
        assert json.loads((first / "corruptions.json").read_text())["complete"]
        status, output, errors = command("eval.py", "--compare", first, second, *arguments)
        assert status == 0, errors
        assert "mean error of second minus that of first, of these two trained networks: +0.00 points" in output
        assert (tmp_path / "compare_corruptions_first_second.png").is_file()

    STOPPED = """
    import os, runpy, signal
    from bnn_jax.evaluation.robustness.outcomes import Outcomes
    recorded = Outcomes.record
    class Collected:
        # What is raised here, Python drops.
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
    def record(self, cell, first, values):
        recorded(self, cell, first, values)
        if cell.corruption == "contrast" and first == 0 and cell.severity == 1:
            Collected()
    Outcomes.record = record
    runpy.run_path("eval.py", run_name="__main__")
    """

    def test_a_suite_ended_by_a_signal_keeps_what_it_has(self, whole, tmp_path):
        shutil.copytree(whole[0], tmp_path / "run")
        arguments = ["--workdir", tmp_path / "run", "--suite", "corruptions", self.LEFT_OUT]
        status, _, errors = command("eval.py", *arguments, code=self.STOPPED)
        assert status == 143, errors
        assert errors.endswith("eval.py: stopped. The same command continues a suite.\n")
        assert not json.loads((tmp_path / "run" / "corruptions.json").read_text())["complete"]
        with np.load(tmp_path / "run" / "corruptions.npz") as stored:
            assert (stored["values"] != UNKNOWN).any()
