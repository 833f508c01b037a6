"""Runs under the same corruptions, one beside the other."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from bnn_jax.config import DataConfig, component
from bnn_jax.data import image_folder
from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.robustness import compare, comparison, outcomes
from bnn_jax.evaluation.robustness.request import Request
from bnn_jax.evaluation.robustness.summary import summarize
from tests.evaluation.robustness.made_runs import REQUEST, run
from tests.evaluation.robustness.test_outcomes import measured
from tests.evaluation.robustness.tiny_sets import tiny_cifar


@pytest.fixture
def folder(tmp_path):
    return run(tmp_path / "one")


def test_runs_are_compared_image_by_image(folder, tmp_path, capsys):
    other = run(tmp_path / "two", seed=1)
    result = compare.compare([folder, other], REQUEST)["runs"]
    assert list(result) == ["one", "two"]
    assert (tmp_path / "compare_corruptions_one_two.png").exists()
    assert json.loads((tmp_path / "compare_corruptions_one_two.json").read_text())["runs"] == result
    means = [result[name]["mean_error"]["error"] for name in result]
    told = result["two"]["difference"]
    np.testing.assert_allclose(told["error"], means[1] - means[0])
    assert told["interval"][0] <= told["error"] <= told["interval"][1]
    assert result["one"]["difference"] is None
    shown = capsys.readouterr().out
    assert "mean error of two minus that of one, of these two trained networks:" in shown
    with pytest.raises(ValueError, match="at least two different runs"):
        compare.compare([folder], REQUEST)
    (tmp_path / "same").symlink_to(folder)
    with pytest.raises(ValueError, match="at least two different runs"):
        compare.compare([folder, tmp_path / "same"], REQUEST)
    # What is measured already: other comparisons lie beside the first one, or where they are to.
    compare.compare([other, folder], REQUEST)
    compare.compare([folder, other], REQUEST, str(tmp_path / "new" / "place"))
    assert (tmp_path / "compare_corruptions_two_one.json").exists()
    assert (tmp_path / "new" / "place" / "compare_corruptions_one_two.png").exists()
    assert "Left out now" not in capsys.readouterr().out
    # Asking for less takes nothing away, and each has its picture.
    for workdir in (folder, other):
        (workdir / "corruptions.png").unlink()
    fewer = Request(leave_out=tuple(name for name in corruptions.ALL if name != "contrast"))
    assert compare.compare([folder, other], fewer)["runs"] == result
    shown = capsys.readouterr().out
    assert "Left out now and shown all the same, as they were measured before: impulse_noise, jpeg_comp" in shown
    assert all((workdir / "corruptions.png").is_file() for workdir in (folder, other))


def test_what_is_known_of_all_runs_is_compared(tmp_path):
    def known(*names, **own):
        found = outcomes.blank({"names": list(names), "own_crc32": own}, names, 4)
        found.values[1:] = np.arange(len(found.values) - 1)[:, None] % 3
        found.values[0] = 2
        return found

    one, two = known("snow", "frost", "fog", frost=5), known("frost", "fog", "contrast", frost=5)
    alike = compare._alike({"one": one, "two": two})
    assert [found.settings["names"] for found in alike.values()] == [["frost", "fog"]] * 2
    assert alike["one"].cells == outcomes.cells_of(("frost", "fog"))
    np.testing.assert_array_equal(alike["one"].values[1:], one.values[6:])
    np.testing.assert_array_equal(alike["two"].values[1:], two.values[1:11])
    assert all(found.known(outcomes.CLEAN) for found in alike.values())
    # Clean images of before, which are not those of the other run.
    alike = compare._alike({"one": known("fog", clean=1), "two": known("fog", clean=2)})
    for found in alike.values():
        assert not found.known(outcomes.CLEAN)
        assert found.known(outcomes.Cell("fog", 3))
    for names, own in ((("frost", "fog"), {"frost": 6}), (("fog",), {})):
        alike = compare._alike({"one": one, "two": known(*names, **own)})
        assert alike["one"].settings["names"] == ["fog"]


@pytest.fixture
def never_measured(monkeypatch):
    def never(*_):
        raise AssertionError("measured")

    monkeypatch.setattr(compare, "measure", never)


def test_runs_of_different_data_are_refused_before_anything_is_measured(folder, tmp_path, never_measured):
    data = DataConfig(source=component(tiny_cifar), batch_size=8, eval_batch_size=6, crop_padding=0)
    other = run(tmp_path / "other", data=data)
    with pytest.raises(
        ValueError, match=r"one and other, of digits and of cifar10, cannot be compared, .* examples \(359 and"
    ):
        compare.compare([folder, other], REQUEST)


def photographs(folder, size, shade=120):
    """A run of a few photographs, shown at a size."""
    for i, place in enumerate(("train/a", "train/b", "val/a", "val/b")):
        (folder / "photos" / place).mkdir(parents=True)
        Image.new("RGB", (90, 90), (90, shade, 20 * i)).save(folder / "photos" / place / "1.png")
    source = component(image_folder, directory=str(folder / "photos"), size=size, resize=80)
    return run(folder / "run", data=DataConfig(source=source, batch_size=2, eval_batch_size=2, crop_padding=0))


@pytest.mark.parametrize(
    ("size", "shade", "differs"),
    [(80, 120, r"image_shape \(\[72, 72, 3\] and \[80, 80, 3\]\), images_crc32"), (72, 121, "images_crc32")],
)
def test_the_same_set_at_another_size_or_of_other_pixels_is_other_data(tmp_path, never_measured, size, shade, differs):
    one, other = photographs(tmp_path / "one", 72), photographs(tmp_path / "other", size, shade)
    request = Request(leave_out=("frost",))
    with pytest.raises(ValueError, match=rf"one/run and other/run, .*, they differ in {differs} \("):
        compare.compare([one, other], request)


def test_published_images_that_differ_in_one_corruption_are_named():
    settings = {**dict.fromkeys(compare._SAME, 1), "own_crc32": {"fog": 1, "snow": 2}, "dataset": "a"}
    # Clean images may be there for one run and not for the other, or be stored otherwise.
    for one, two in (({}, {"clean": 3}), ({"clean": 4}, {"clean": 3})):
        own = settings["own_crc32"]
        others = {**settings, "own_crc32": {"fog": 1, **two}, "dataset": "the same elsewhere", "weights_crc32": 2}
        compare._check_same({"one": {**settings, "own_crc32": {**own, **one}}, "two": others})
    with pytest.raises(ValueError, match=r"one and two, .*, cannot be compared, they differ in the images of snow: "):
        compare._check_same({"one": settings, "two": {**settings, "own_crc32": {"fog": 1, "snow": 3}}})


def test_why_mce_is_missed_is_said_once(capsys):
    summary = summarize(measured(caveat="no mCE: why", examples=10, checkpoint="best"))
    comparison.show({name: {**summary, "difference": None} for name in ("one", "two")})
    assert capsys.readouterr().out.count("no mCE: why") == 1


@pytest.mark.parametrize(
    ("names", "settings", "told"),
    [
        (("fog", "snow", "saturate"), {}, ["mean of 2 corruptions, WITHOUT gaussian_noise, "]),
        (tuple(corruptions.COMMON), {}, []),
        (tuple(corruptions.COMMON), {"beside_alexnet": True}, ["mCE and relative mCE (generated in memory; "]),
        (tuple(corruptions.COMMON), {"paired": None}, ["no clean errors: the runs' own test images are not there"]),
        (("saturate",), {}, []),
    ],
)
def test_what_is_to_be_known_of_the_lines_is_said(names, settings, told):
    found = measured(names, **settings)
    if found.settings["paired"] is None:
        found.row(outcomes.CLEAN)[:] = outcomes.UNKNOWN
    notes = comparison.notes([summarize(found)] * 2)
    assert len(notes) == len(told)
    assert all(note.startswith(start) for note, start in zip(notes, told, strict=True))


def test_where_nothing_can_be_written_nothing_is_measured(tmp_path, never_measured):
    (tmp_path / "file").touch()
    with pytest.raises(PermissionError, match=r"expected a folder to write the comparison to.* --out DIR"):
        compare.compare([tmp_path / "a", tmp_path / "b"], REQUEST, str(tmp_path / "file"))


def test_a_stage_is_called_by_its_recipe_too(tmp_path):
    names = compare._short([tmp_path / "teacher", tmp_path / "teacher" / "teacher"])
    assert names == ["teacher", "teacher/teacher"]
    assert compare._short([tmp_path / "a" / "b", tmp_path / "a" / "c"]) == ["b", "c"]


def test_names_of_many_runs_are_cut_and_stay_apart():
    names = [[f"sweep/rate={i}" for i in (*range(20), last)] for last in (77, 78)]
    found = [compare._together(run) for run in names]
    assert len(set(found)) == 2
    assert all(len(name) < 140 and "/" not in name for name in found)


def test_names_of_other_runs_are_others():
    assert compare._together(["one", "lr=0.1", "s-2"]) == "one_lr=0.1_s-2"
    alike = [["a/b", "c"], ["a-b", "c"], ["a", "b/c"], ["a", "b-c"], ["a b", "c"], ["a_b", "c"], ["a", "b_c"]]
    found = [compare._together(names) for names in [*alike, ["a", "b", "c"], ["c", "a-b"]]]
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(r"[\w.=-]+", name) for name in found)
