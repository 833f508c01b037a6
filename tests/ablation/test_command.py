"""`python -m bnn_jax.ablation` as a user runs it, on an ablation of seconds."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bnn_jax.ablation import report, runner
from bnn_jax.ablation.plan import plan
from bnn_jax.config.file import load
from tests.ablation import tiny
from tests.conftest import ROOT
from tests.test_commands import command
from tests.training import toy


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    return tiny.config_file(tmp_path_factory.mktemp("config"))


def run(config_file, folder, *arguments, **options):
    return command("-m", "bnn_jax.ablation", "--config", config_file, "--workdir", folder, *arguments, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, config_file):
    """Folder of an ablation never stopped, and what was printed."""
    folder = tmp_path_factory.mktemp("whole") / "ablation"
    status, output, errors = run(config_file, folder)
    assert status == 0, errors
    return folder, output


def numbers(folder):
    return json.loads((folder / report.NUMBERS).read_text())


def test_one_command_runs_all_and_writes_table_numbers_and_picture(whole):
    folder, output = whole
    assert {path.name for path in folder.iterdir()} == {
        *("teacher", "as_it_is", "mimic_0.5"),
        *("ablation.json", "ablation.md", "ablation.png"),
    }
    found = numbers(folder)
    assert [(r["variant"], r["seed"], r["folder"]) for r in found["runs"]] == [
        ("as it is", 0, "as_it_is/seed0"),
        ("mimic = 0.5", 0, "mimic_0.5/seed0"),
        ("as it is", 1, "as_it_is/seed1"),
        ("mimic = 0.5", 1, "mimic_0.5/seed1"),
    ]
    assert found["variants"] == {"as it is": {}, "mimic = 0.5": {"losses[1].weight": 0.5}}
    for entry in found["runs"]:
        last = toy.records(folder / entry["folder"], "eval")[-1]
        assert last["step"] == 20
        assert entry["numbers"]["accuracy"] == last["accuracy"]
        assert entry["numbers"]["gain"] == tiny.gain(folder / entry["folder"])["gain"]
    for name in found["variants"]:
        of = [entry["numbers"]["accuracy"] for entry in found["runs"] if entry["variant"] == name]
        statistic = found["statistics"][name]["accuracy"]
        assert statistic["mean"] == pytest.approx(np.mean(of))
        assert statistic["deviation"] == pytest.approx(np.std(of, ddof=1))
        row = f"{100 * np.mean(of):.2f} ± {100 * np.std(of, ddof=1):.2f}"
        assert f"| {name} | 2 | {row} |" in (folder / report.TABLE).read_text()
        assert row in output
    assert (folder / report.PICTURE).read_bytes().startswith(b"\x89PNG")


def test_every_run_is_a_usual_one_taught_by_the_shared_teacher(whole):
    folder, _ = whole
    planned = plan(tiny.ablation(), folder)
    [teacher] = planned.shared
    state, _ = toy.stored(teacher.workdir, teacher.config)
    taught = [toy.stored(trial.workdir, trial.config)[0] for trial in planned.trials]
    for student in taught:
        toy.assert_identical(student.teacher, state.variables)
    kernels = {np.asarray(student.params["conv"]["kernel"]).tobytes() for student in taught}
    assert len(kernels) == 4


def test_the_same_again_runs_and_measures_nothing(whole, monkeypatch, capsys):
    folder, _ = whole
    ablation = tiny.ablation()
    planned = plan(ablation, folder)
    before = numbers(folder)

    def refused(*arguments):
        raise AssertionError(f"run or measured again: {arguments}")

    monkeypatch.setattr(runner, "prepare", refused)
    monkeypatch.setattr(runner, "take", refused)
    runner.check(ablation, planned, folder)
    runner.describe(ablation, planned)
    assert runner.run(ablation, planned, folder) == 0
    assert numbers(folder) == before
    shown = capsys.readouterr().out.splitlines()
    assert sum(line.endswith("  done") for line in shown) == 5  # the teacher too


def test_an_ablation_stopped_and_killed_and_continued_ends_as_one_never_stopped(whole, config_file, tmp_path):
    folder = tmp_path / "ablation"
    # Batches are counted anew in each process: first the second run is stopped, then a later one killed.
    status, output, errors = run(config_file, folder, env={"BNN_TOY_AMBUSH": "SIGTERM@48"})
    assert status == 143, errors
    assert "saved. The same command continues." in output
    assert output.endswith("Ablation stopped by signal 15; the same command continues.\n")
    done = [entry for entry in numbers(folder)["runs"] if entry["numbers"] is not None]
    assert [entry["folder"] for entry in done] == ["as_it_is/seed0"]
    status, output, errors = run(config_file, folder, env={"BNN_TOY_AMBUSH": "SIGKILL@40"})
    assert status == -9, errors
    assert "== stage 'teacher'" not in output
    assert "== run 2 of 4: mimic = 0.5, seed 0" in output
    status, output, errors = run(config_file, folder)
    assert status == 0, errors
    assert numbers(folder) == numbers(whole[0])
    for mine, other in zip(plan(tiny.ablation(), folder).trials, plan(tiny.ablation(), whole[0]).trials, strict=True):
        toy.assert_same_run(mine.workdir, other.workdir, mine.config)
        assert (mine.workdir / "asked.txt").read_text() == "gain\n"
    assert (folder / "teacher" / "metrics.jsonl").read_text().count('"eval"') == 1


def test_an_ablation_that_was_moved_and_is_called_otherwise_goes_on(whole, tmp_path, monkeypatch):
    shutil.copytree(whole[0], tmp_path / "moved" / "ablation")
    monkeypatch.chdir(tmp_path)
    folder = Path("moved/ablation")
    lost = plan(tiny.ablation(), folder).trials[1].workdir
    shutil.rmtree(lost)
    ablation = tiny.ablation()
    planned = plan(ablation, folder)
    runner.check(ablation, planned, folder)
    assert runner.run(ablation, planned, folder) == 0
    [teacher] = planned.shared
    taught, _ = toy.stored(lost, planned.trials[1].config)
    toy.assert_identical(taught.teacher, toy.stored(teacher.workdir, teacher.config)[0].variables)


@pytest.mark.parametrize("named", [True, False])
def test_a_dry_run_shows_the_overridden_plan_and_writes_nothing(named, config_file, tmp_path):
    workdir = ("--workdir", tmp_path / "w") if named else ()
    overrides = ("--config.base.epochs", "3", "--config.seeds=7")
    status, output, errors = command(
        "-m", "bnn_jax.ablation", "--config", config_file, *workdir, "--dry_run", *overrides
    )
    assert status == 0, errors
    folder = (tmp_path / "w" if named else Path("WORKDIR")) / "mimic_0.5" / "seed7"
    shown = [" ".join(line.split()) for line in output.splitlines()]
    assert f"mimic = 0.5, seed 7 losses[1].weight = 0.5 {folder} not begun" in shown
    assert "epochs 3" in shown
    assert f"stages[0].config.epochs {tiny.ablation().base.stages[0].config.epochs}" in shown
    assert not folder.parent.parent.exists()


def test_only_a_dry_run_needs_no_data_of_a_published_set(tmp_path, monkeypatch):
    for name in ("HOME", "BNN_JAX_DATA", "TFDS_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    ablation = load(ROOT / "configs" / "ablations" / "lcr_alpha.py")
    ablation = replace(ablation, variants={"alpha 0": ablation.variants["alpha 0"]})
    planned = plan(ablation, tmp_path / "w")
    runner.check(ablation, planned, tmp_path / "w", dry=True)
    with pytest.raises(FileNotFoundError, match=r"variant 'alpha 0': stage 'teacher' .*cifar10: expected"):
        runner.check(ablation, planned, tmp_path / "w")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.base.epoch", "3"], "did you mean 'config.base.epochs'?"),
        (["--config.base.data.batch_size", "0"], "data.batch_size = 0 cannot be split"),
        (["--config.base.stages[0].config.epochs", "0"], "stage 'teacher' (config.stages[0].config): epochs must be 1"),
    ],
)
def test_a_wrong_command_line_is_refused_before_anything_is_written(config_file, tmp_path, arguments, message):
    status, _, errors = run(config_file, tmp_path / "w", *arguments)
    assert status == 1
    assert errors.startswith("ablation: ")
    assert message in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "w").exists()


def test_an_experiment_is_sent_to_train_py_and_an_ablation_from_there(config_file, tmp_path):
    status, _, errors = command("train.py", "--config", config_file, "--workdir", tmp_path / "w")
    assert (status, errors.strip()) == (
        1,
        "train.py: expected a config file of a Config, found Ablation; ablations: python -m bnn_jax.ablation",
    )
    status, _, errors = run(toy.config_file(tmp_path), tmp_path / "w")
    assert (status, errors.strip()) == (
        1,
        "ablation: expected a config file of an Ablation, found Config; experiments: python train.py",
    )
