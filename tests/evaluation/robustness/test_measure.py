"""A run under generated corruptions: the same whatever it is measured in, continued, compared."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from bnn_jax.config import DataConfig, component
from bnn_jax.data import image_folder
from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.robustness import generated, measure, outcomes, report
from bnn_jax.evaluation.robustness.outcomes import CLEAN, UNKNOWN, Cell
from bnn_jax.evaluation.robustness.request import Request
from bnn_jax.training.assembly import assemble
from bnn_jax.training.checkpoint import Bookkeeping, Checkpoints
from tests.evaluation.robustness.made_runs import REQUEST, logits_of, run, undecided
from tests.evaluation.robustness.tiny_sets import tiny_photographs
from tests.training import toy


@pytest.fixture
def folder(tmp_path):
    return run(tmp_path / "one")


def expected_outcomes(cell, seed=0):
    """Of the whole test set in one piece."""
    test = assemble(toy.config()).splits.test
    images = test.images
    if cell != CLEAN:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(generated.cell_key(0, cell), np.arange(len(images)))
        images = corruptions.ALL[cell.corruption](keys, images, cell.severity, "cifar10_c")
    logits = np.asarray(logits_of(undecided(seed).variables, images))
    rank = (logits > logits[np.arange(len(logits)), test.labels][:, None]).sum(-1)
    return np.where(rank < 1, outcomes.RIGHT, np.where(rank < 5, outcomes.AMONG_FIVE, outcomes.WRONG))


def test_every_image_is_measured_once_shown_and_written(folder, capsys):
    summary = report.robustness(folder, REQUEST)
    shown = capsys.readouterr().out
    assert summary["complete"]
    assert (summary["examples"], summary["severities_of"], summary["step"]) == (359, "cifar10_c", 10)
    assert json.loads((folder / "corruptions.json").read_text()) == summary
    assert (folder / "corruptions.png").read_bytes()[:4] == b"\x89PNG"
    with np.load(folder / "corruptions.npz") as stored:
        values = dict(zip(outcomes.cells_of(summary["names"]), stored["values"], strict=True))
    for cell in (CLEAN, Cell("impulse_noise", 5), Cell("contrast", 2), Cell("jpeg_compression", 4)):
        np.testing.assert_array_equal(values[cell], expected_outcomes(cell))
    assert len(np.unique(values[CLEAN])) == 3
    assert len({row.tobytes() for row in values.values()}) > 12
    assert summary["clean"]["correct"] == (expected_outcomes(CLEAN) == outcomes.RIGHT).sum()
    assert "WITHOUT gaussian_noise" in shown
    [row] = [line.split() for line in shown.splitlines() if line.startswith("contrast")]
    assert row[1:6] == [f"{100 * error:.2f}" for error in summary["corruptions"]["contrast"]["errors"]]


def test_two_devices_measure_the_same(folder, run_python):
    whole = measure.measure(folder, REQUEST)[1].values.copy()
    (folder / "corruptions.npz").unlink()
    run_python(
        f"""
        from pathlib import Path
        import jax
        from bnn_jax.evaluation.robustness import measure
        assert jax.local_device_count() == 2
        measure.measure(Path({str(folder)!r}), measure.Request(leave_out={REQUEST.leave_out!r}))
        """,
        devices=2,
    )
    with np.load(folder / "corruptions.npz") as stored:
        np.testing.assert_array_equal(stored["values"], whole)


def test_an_interrupted_measurement_is_continued(folder, monkeypatch):
    whole = measure.measure(folder, REQUEST)[1].values.copy()
    (folder / "corruptions.npz").unlink()
    recorded = outcomes.Outcomes.record

    def interrupted(self, cell, first, values):
        recorded(self, cell, first, values)
        if (cell, first) == (Cell("contrast", 2), 120):
            raise KeyboardInterrupt

    monkeypatch.setattr(outcomes.Outcomes, "record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure.measure(folder, REQUEST)
    told = json.loads((folder / "corruptions.json").read_text())
    assert not told["complete"]
    seen = []

    def watched(self, cell, first, values):
        seen.append((cell, first))
        recorded(self, cell, first, values)

    monkeypatch.setattr(outcomes.Outcomes, "record", watched)
    found = measure.measure(folder, REQUEST)[1].values
    np.testing.assert_array_equal(found, whole)
    assert (Cell("contrast", 3), 120) in seen
    assert not any(first == 0 for _, first in seen)
    seen.clear()
    np.testing.assert_array_equal(measure.measure(folder, REQUEST)[1].values, whole)
    assert not seen


def test_what_was_measured_is_written_as_it_goes(folder, monkeypatch):
    def read():
        with np.load(folder / "corruptions.npz") as stored:
            told = json.loads((folder / "corruptions.json").read_text())
            return int(np.sum(stored["values"] != UNKNOWN)), told["complete"], told["weights_crc32"]

    measure.measure(folder, REQUEST)
    count, _, before = read()
    checkpoints = Checkpoints(folder)
    checkpoints.save(undecided(1).replace(step=np.asarray(20, np.int32)), Bookkeeping(), 0.9)
    checkpoints.close()
    monkeypatch.setattr(measure, "_SAVE_EVERY", 0.0)
    advance, seen = measure.Steps.advance, []

    def watched(self, what):
        advance(self, what)
        seen.append(read())

    monkeypatch.setattr(measure.Steps, "advance", watched)
    measure.measure(folder, REQUEST)
    # As long as nothing is measured of other weights, what was of the earlier ones stays.
    assert seen[0] == (count, True, before)
    later = seen[10:]
    assert all(not complete and weights != before for _, complete, weights in later)
    assert [number for number, *_ in later] == sorted({number for number, *_ in later})


def test_frost_is_added_left_out_and_there_again_and_nothing_else_is_measured_again(folder, recorded):
    without, both = (
        Request(leave_out=tuple(name for name in corruptions.ALL if name not in names))
        for names in (("contrast",), ("contrast", "frost"))
    )
    _, first = measure.measure(folder, without)
    assert (recorded, first.settings["own_crc32"]) == ({"clean", "contrast"}, {})
    recorded.clear()
    summary, whole = measure.measure(folder, both)
    assert recorded == {"frost"}
    assert list(summary["own_crc32"]) == ["frost"]
    for cell in first.cells:
        np.testing.assert_array_equal(whole.row(cell), first.row(cell))
    recorded.clear()
    # What is measured stays: in the files, and in what they tell.
    for request in (without, both):
        again, found = measure.measure(folder, request)
        assert again == summary == json.loads((folder / "corruptions.json").read_text())
        np.testing.assert_array_equal(found.values, whole.values)
    assert not recorded
    # Frost is known already: more is measured without its being asked for.
    more = Request(leave_out=tuple(name for name in corruptions.ALL if name != "pixelate"))
    again, _ = measure.measure(folder, more)
    assert recorded == {"pixelate"}
    assert list(again["corruptions"]) == ["frost", "contrast", "pixelate"]


def test_a_checkpoint_further_on_is_measured_anew(folder):
    first = measure.measure(folder, REQUEST)[1].values
    checkpoints = Checkpoints(folder)
    checkpoints.save(undecided(1).replace(step=np.asarray(20, np.int32)), Bookkeeping(), 0.9)
    checkpoints.close()
    summary, found = measure.measure(folder, REQUEST)
    assert summary["step"] == 20
    assert not np.any(found.values == UNKNOWN)
    assert np.any(found.values != first)


def test_best_last_and_other_seeds_keep_what_was_measured_of_each(folder, monkeypatch):
    checkpoints = Checkpoints(folder)
    checkpoints.save(undecided(1).replace(step=np.asarray(20, np.int32)), Bookkeeping(), 0.1)
    checkpoints.close()
    names = tuple(name for name in corruptions.ALL if name != "impulse_noise")
    best, last, seed = (Request(leave_out=names, **k) for k in ({}, {"checkpoint": "last"}, {"seed": 3}))
    first, second, third = (measure.measure(folder, request) for request in (best, last, seed))
    assert [found[0]["step"] for found in (first, second, third)] == [10, 20, 10]
    assert np.any(first[1].values[1:] != third[1].values[1:])
    for name in ("corruptions", "corruptions_last", "corruptions_seed3"):
        assert (folder / f"{name}.json").exists()

    def never(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(outcomes.Outcomes, "record", never)
    for request, before in ((best, first), (last, second), (seed, third)):
        summary, again = measure.measure(folder, request)
        assert summary == before[0]
        np.testing.assert_array_equal(again.values, before[1].values)


def test_a_measurement_that_comes_to_nothing_leaves_that_of_other_images_as_it_was(folder, monkeypatch, capsys):
    measure.measure(folder, REQUEST)
    before = (folder / "corruptions.npz").read_bytes(), (folder / "corruptions.json").read_bytes()
    monkeypatch.setattr(generated, "PIXELS", generated.PIXELS + 1)

    def unreadable(*_):
        raise ValueError("no images")
        yield

    monkeypatch.setattr(generated.Generated, "parts", unreadable)
    with pytest.raises(ValueError, match="no images"):
        measure.measure(folder, REQUEST)
    assert before == ((folder / "corruptions.npz").read_bytes(), (folder / "corruptions.json").read_bytes())
    assert "holds nothing of these weights and images" in capsys.readouterr().out


def test_other_weights_of_the_same_step_are_measured_anew(folder, tmp_path):
    summary, first = measure.measure(folder, REQUEST)
    other = run(tmp_path / "other", seed=1)
    (other / "corruptions.npz").write_bytes((folder / "corruptions.npz").read_bytes())
    found, again = measure.measure(other, REQUEST)
    assert {key for key in summary if isinstance(summary[key], int) and summary[key] != found[key]} == {"weights_crc32"}
    assert np.any(again.values != first.values)


def test_photographs_need_the_textures_of_frost_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.delenv("BNN_JAX_FROST", raising=False)
    for place in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / "photos" / place).mkdir(parents=True)
        Image.new("RGB", (80, 80), (90, 120, 30)).save(tmp_path / "photos" / place / "1.png")
    source = component(image_folder, directory=str(tmp_path / "photos"), size=72, resize=72)
    data = DataConfig(source=source, batch_size=2, eval_batch_size=2, crop_padding=0)
    folder = run(tmp_path / "run", data=data)
    with pytest.raises(FileNotFoundError, match=r"ImageNet-C's frost needs its textures .* --leave_out frost"):
        measure.measure(folder, Request())
    assert not (folder / "corruptions.npz").exists()
    left_out = tuple(name for name in corruptions.ALL if name != "contrast")
    summary, _ = measure.measure(folder, Request(leave_out=left_out))
    assert (summary["severities_of"], summary["examples"]) == ("imagenet_c", 2)


def test_where_mce_is_missed_the_reason_is_told_and_changes_no_measurement(tmp_path, capsys, recorded):
    data = DataConfig(source=component(tiny_photographs), batch_size=2, eval_batch_size=2, crop_padding=0)
    folder = run(tmp_path / "run", data=data)
    request = Request(leave_out=tuple(name for name in corruptions.ALL if name != "contrast"))
    summary = report.robustness(folder, request)
    assert summary["caveat"].startswith("no mCE: whether the 1,000 classes of photographs are ImageNet's is not known")
    assert summary["caveat"] in capsys.readouterr().out
    with np.load(folder / "corruptions.npz") as stored:
        before = dict(stored)
    settings = json.loads(str(before["settings"]))
    del settings["caveat"]  # as it was before there was one
    np.savez(folder / "corruptions.npz", **{**before, "settings": json.dumps(settings)})
    recorded.clear()
    assert measure.measure(folder, request)[0] == summary
    assert not recorded


def test_small_images_were_never_stored_as_jpeg(folder):
    with pytest.raises(ValueError, match="never stored as JPEG"):
        measure.measure(folder, Request(stored="jpeg85"))


def test_what_is_there_already_is_told(folder, capsys):
    request = Request(leave_out=tuple(name for name in corruptions.ALL if name != "contrast"))
    measure.measure(folder, request)
    assert "there already" not in capsys.readouterr().out
    measure.measure(folder, request)
    assert "corruptions.npz: 6 of 6 measurements are there already. Remove it to" in capsys.readouterr().out
    with np.load(folder / "corruptions.npz") as stored:
        arrays = dict(stored)
    arrays["values"][2:4, 100:] = UNKNOWN
    np.savez(folder / "corruptions.npz", **arrays)
    measure.measure(folder, request)
    assert "4 of 6 measurements are there already, and 2 in part. Remove it to" in capsys.readouterr().out
