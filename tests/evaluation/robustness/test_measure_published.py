"""A run under the published images of CIFAR-10-C's form."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bnn_jax.config import DataConfig, component
from bnn_jax.data import Absent
from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.robustness import measure, outcomes, prepare, report
from bnn_jax.evaluation.robustness.outcomes import Cell
from bnn_jax.evaluation.robustness.request import Request
from tests.evaluation.robustness.made_runs import logits_of, run, undecided
from tests.evaluation.robustness.tiny_sets import tiny_cifar

DATA = DataConfig(source=component(tiny_cifar), batch_size=8, eval_batch_size=6, crop_padding=0)


@pytest.fixture
def folder(tmp_path):
    return run(tmp_path / "run", data=DATA)


def published_cifar(folder, names=("fog", "snow"), seed=1):
    """Random images in CIFAR-10-C's files, and their labels."""
    rng = np.random.default_rng(seed)
    images = {name: rng.integers(0, 256, (40, 32, 32, 3), np.uint8) for name in names}
    labels = np.tile(tiny_cifar().test.labels, 5)
    folder.mkdir(exist_ok=True)
    for name, values in {**images, "labels": labels}.items():
        np.save(folder / f"{name}.npy", values)
    return images, labels


def of_published(folder, names=("fog", "snow")):
    return Request("cifar10_c", str(folder), tuple(name for name in corruptions.ALL if name not in names))


def test_they_are_known_wherever_they_lie(folder, tmp_path, recorded, capsys):
    published_cifar(tmp_path / "here")
    _, first = measure.measure(folder, of_published(tmp_path / "here"))
    recorded.clear()
    (tmp_path / "here").rename(tmp_path / "there")
    measure.measure(folder, of_published(tmp_path / "there"))
    assert not recorded
    images, _ = published_cifar(tmp_path / "other", seed=2)
    np.save(tmp_path / "there" / "snow.npy", images["snow"])
    capsys.readouterr()
    _, again = measure.measure(folder, of_published(tmp_path / "there"))
    assert recorded == {"snow"}
    assert "cifar10_c.npz: of other images than these, and measured anew: snow.\n" in capsys.readouterr().out
    assert np.any(again.values != first.values)


def test_without_the_clean_ones_they_are_measured_to_the_end(folder, tmp_path, recorded, monkeypatch, capsys):
    published_cifar(tmp_path / "there")
    absent = replace(tiny_cifar(), test=Absent(8))
    monkeypatch.setattr(prepare, "open_splits", lambda config, dry: absent)
    steps = []
    monkeypatch.setattr(measure.Steps, "advance", lambda self, what: steps.append(self._total))
    # Two corruptions at 5 severities, 8 images in batches of 6.
    request = of_published(tmp_path / "there", ("fog", "snow", "spatter"))
    summary = report.robustness(folder, request)
    shown = capsys.readouterr().out
    assert "no clean error: the run's own test images" in shown
    assert f"Not in {tmp_path / 'there'}, and so not measured: spatter\n" in shown
    assert summary["complete"]
    assert summary["clean"] is None
    assert steps == [20] * 20
    (folder / "cifar10_c.json").unlink()
    recorded.clear()
    assert report.robustness(folder, of_published(tmp_path / "there")) == summary
    assert not recorded
    assert json.loads((folder / "cifar10_c.json").read_text()) == summary


def test_they_are_measured_as_they_are(folder, tmp_path):
    names = ("fog", "snow")
    images, labels = published_cifar(tmp_path)
    summary, found = measure.measure(folder, of_published(tmp_path))
    assert (summary["severities_of"], summary["examples"], summary["seed"]) == ("cifar10_c", 8, None)
    variables = undecided(0, data=DATA).variables
    for name in names:
        logits = logits_of(variables, images[name], data=DATA)
        rank = np.sum(logits > logits[np.arange(40), labels][:, None], -1)
        expected = np.where(rank < 1, outcomes.RIGHT, np.where(rank < 5, outcomes.AMONG_FIVE, outcomes.WRONG))
        got = np.concatenate([found.row(Cell(name, severity)) for severity in corruptions.SEVERITIES])
        np.testing.assert_array_equal(got, expected)
    # What is said depends on the image.
    assert len(np.unique(logits.argmax(-1))) > 1


def test_a_set_of_other_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"CIFAR-10-C is for networks of CIFAR-10; this run's data is digits"):
        measure.measure(run(tmp_path / "digits"), Request("cifar10_c", str(tmp_path)))
