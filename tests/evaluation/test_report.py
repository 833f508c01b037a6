"""Evaluating the best and the last checkpoint of a run."""

import json

import jax
import numpy as np
import pytest

from bnn_jax.config import DataConfig, component
from bnn_jax.data import digits, normalize
from bnn_jax.evaluation import report, runs
from bnn_jax.training import workdir
from bnn_jax.training.assembly import assemble
from bnn_jax.training.checkpoint import Bookkeeping, Checkpoints
from tests.training import toy


def state(seed, step):
    """A network that was never trained."""
    made = assemble(toy.config(seed=seed)).init_state()
    return made.replace(step=np.asarray(step, np.int32))


@pytest.fixture
def folder(tmp_path):
    """A run whose best epoch is not its last."""
    workdir.claim(tmp_path, toy.config())
    checkpoints = Checkpoints(tmp_path)
    for seed, (step, accuracy) in enumerate([(10, 0.3), (20, 0.2), (35, None)]):
        checkpoints.save(state(seed, step), Bookkeeping(), accuracy)
    checkpoints.close()
    return tmp_path


def predictions(variables):
    """Logits of the whole test set, in one piece."""
    experiment = assemble(toy.config())
    test, info = experiment.splits.test, experiment.splits.info
    images = normalize(test.images, info.mean, info.std)
    logits, _ = jax.jit(experiment.model.apply)(variables, images)
    return np.asarray(logits, np.float64), test.labels


def test_both_checkpoints_are_counted_exactly_shown_and_written(folder, capsys):
    found = report.classification(folder)
    shown = capsys.readouterr().out
    assert json.loads((folder / "eval.json").read_text()) == {"dataset": "digits", "split": "test", **found}
    assert set(found) == {"best", "last"}
    for name, seed, step in (("best", 0, 10), ("last", 2, 35)):
        result = found[name]
        logits, labels = predictions(state(seed, step).variables)
        right = logits[np.arange(len(labels)), labels][:, None]
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        assert (result["step"], result["epoch"]) == (step, step / 10)
        assert result["correct"] == (logits.argmax(-1) == labels).sum() == result["top1"] * len(labels)
        assert result["top5"] == ((logits > right).sum(-1) < 5).sum() / len(labels)
        assert result["examples"] == len(labels) == 359
        np.testing.assert_allclose(result["loss"], -log_p[np.arange(len(labels)), labels].mean(), rtol=1e-5)
        row = [line.split() for line in shown.splitlines() if line.startswith(name)]
        assert row == [
            [
                name,
                f"{step / 10:g}",
                str(step),
                f"{100 * result['top1']:.2f}",
                f"{100 * result['top5']:.2f}",
                f"{result['loss']:.4f}",
                str(result["correct"]),
                "359",
            ]
        ]
    assert found["best"]["loss"] != found["last"]["loss"]


def test_where_the_last_is_the_best_both_give_the_same(tmp_path):
    workdir.claim(tmp_path, toy.config())
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(0, 10), Bookkeeping(), 0.3)
    checkpoints.close()
    found = report.classification(tmp_path)
    assert found["best"] == found["last"]
    assert found["last"]["step"] == 10


def test_a_run_stopped_in_its_first_epoch_has_a_last_but_no_best(tmp_path):
    workdir.claim(tmp_path, toy.config())
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(0, 4), Bookkeeping())
    checkpoints.close()
    assert set(report.classification(tmp_path)) == {"last"}


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not the folder of a run"):
        report.classification(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_checkpoint_says_when_there_will_be_one(tmp_path):
    workdir.claim(tmp_path, toy.config())
    with pytest.raises(ValueError, match=r"holds no checkpoint yet: train\.py saves them as it trains"):
        report.classification(tmp_path)


def test_a_checkpoint_of_another_network_is_refused(folder):
    changed = toy.config()
    changed.model.width = 5
    (folder / "config.json").unlink()
    workdir.claim(folder, changed)
    with pytest.raises(ValueError, match=r"checkpoint 10 in .* does not fit this network"):
        report.classification(folder)
    assert not (folder / "eval.json").exists()


def test_data_that_was_moved_is_found_where_it_is_said_to_be(folder, monkeypatch):
    seen = []
    monkeypatch.setattr(runs, "assemble", lambda config, find: seen.append(config.data.source.directory) or made)
    made = assemble(toy.config())
    report.classification(folder, "/elsewhere")
    report.classification(folder)
    assert seen == ["/elsewhere", ""]


def test_a_place_for_data_that_has_none_is_refused(tmp_path):
    workdir.claim(tmp_path, toy.config(data=DataConfig(component(digits))))
    with pytest.raises(ValueError, match="comes from no directory: leave --data_directory out"):
        runs.reopen(tmp_path, "/elsewhere")
