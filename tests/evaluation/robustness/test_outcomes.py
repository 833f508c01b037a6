"""Outcomes: recorded, kept, taken up again; and what they are summed up to."""

from dataclasses import replace

import numpy as np
import pytest

from bnn_jax.evaluation.corruptions import COMMON, SEVERITIES
from bnn_jax.evaluation.robustness import mce, outcomes
from bnn_jax.evaluation.robustness.outcomes import CLEAN, UNKNOWN, Cell
from bnn_jax.evaluation.robustness.report import conclusions
from bnn_jax.evaluation.robustness.summary import summarize

NAMES = ("snow", "fog", "saturate")
SETTINGS = {
    "suite": "corruptions",
    "dataset": "toy",
    "step": 3,
    "image_shape": [224, 224, 3],
    "beside_alexnet": False,
    "caveat": None,
    "paired": True,
    "stored": "memory",
    "own_crc32": {},
    "names": list(NAMES),
}


def measured(names=NAMES, images=10, seed=0, **settings):
    found = outcomes.blank({**SETTINGS, **settings, "names": list(names)}, names, images)
    found.values[:] = np.random.default_rng(seed).integers(0, 3, found.values.shape)
    return found


def test_padding_is_never_recorded():
    found = outcomes.blank(SETTINGS, NAMES, 10)
    cell = Cell("snow", 2)
    found.record(cell, 0, np.full(6, 2, np.uint8))
    assert found.known(cell, 0, 6)
    assert not found.known(cell, 6, 6)
    found.record(cell, 6, np.array([1, 1, 1, 1, UNKNOWN, UNKNOWN], np.uint8))
    assert found.known(cell, 6, 6)
    np.testing.assert_array_equal(found.row(cell), [2] * 6 + [1] * 4)
    assert (found.values != UNKNOWN).sum() == 10


class TestResume:
    def test_what_was_measured_is_there_again(self, tmp_path):
        found = measured()
        found.row(Cell("fog", 3))[4:] = UNKNOWN
        found.save(tmp_path / "a.npz")
        again = outcomes.resume(tmp_path / "a.npz", SETTINGS, NAMES, 10)
        np.testing.assert_array_equal(again.values, found.values)
        assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]

    def test_other_corruptions_of_the_same_run_are_added(self, tmp_path):
        found = measured()
        found.save(tmp_path / "a.npz")
        names = ("snow", "contrast")
        again = outcomes.resume(tmp_path / "a.npz", {**SETTINGS, "names": list(names)}, names, 10)
        np.testing.assert_array_equal(again.row(Cell("snow", 4)), found.row(Cell("snow", 4)))
        np.testing.assert_array_equal(again.row(CLEAN), found.row(CLEAN))
        assert (again.row(Cell("contrast", 1)) == UNKNOWN).all()

    def test_what_is_measured_whole_is_told_of_asked_for_or_not(self, tmp_path):
        found = measured()
        found.row(Cell("fog", 3))[4:] = UNKNOWN
        found.save(tmp_path / "a.npz")
        again = outcomes.resume(tmp_path / "a.npz", {**SETTINGS, "names": ["contrast"]}, ("contrast",), 10)
        assert again.settings["names"] == ["snow", "contrast", "saturate"]
        assert again.cells == outcomes.cells_of(("snow", "contrast", "saturate"))
        assert set(summarize(again)["corruptions"]) == {"snow", "saturate"}

    def test_what_is_measured_in_part_and_not_asked_for_is_kept(self, tmp_path):
        found = measured()
        found.row(Cell("fog", 3))[4:] = UNKNOWN
        found.save(tmp_path / "a.npz")
        outcomes.resume(tmp_path / "a.npz", {**SETTINGS, "names": ["snow"]}, ("snow",), 10).save(tmp_path / "a.npz")
        again = outcomes.resume(tmp_path / "a.npz", SETTINGS, NAMES, 10)
        np.testing.assert_array_equal(again.values, found.values)

    @pytest.mark.parametrize("change", [{"step": 4}, {"labels_crc32": 5}, {"weights_crc32": 7}])
    def test_another_checkpoint_begins_anew(self, tmp_path, change):
        measured().save(tmp_path / "a.npz")
        again = outcomes.resume(tmp_path / "a.npz", {**SETTINGS, **change}, NAMES, 10)
        assert (again.values == UNKNOWN).all()
        assert (outcomes.resume(tmp_path / "a.npz", SETTINGS, NAMES, 11).values == UNKNOWN).all()

    def test_a_set_in_a_folder_of_another_name_is_the_same(self, tmp_path):
        found = measured(epoch=2.0)
        found.save(tmp_path / "a.npz")
        # Of fewer training images an epoch is shorter: the weights are what they are.
        moved = {**SETTINGS, "dataset": "photographs", "epoch": 3.0}
        again = outcomes.resume(tmp_path / "a.npz", moved, NAMES, 10)
        np.testing.assert_array_equal(again.values, found.values)
        assert again.settings == moved

    @pytest.mark.parametrize(
        ("before", "now", "paired", "kept"),
        [
            ({}, {"clean": 5}, True, False),
            ({"clean": 4}, {"clean": 5}, True, False),
            ({"clean": 5}, {}, None, True),
            ({"clean": 5}, {"clean": 5}, True, True),
        ],
    )
    def test_clean_images_that_are_others_are_measured_again_and_they_alone(self, tmp_path, before, now, paired, kept):
        found = measured(paired=True if before else None, own_crc32=before)
        found.save(tmp_path / "a.npz")
        settings = {**SETTINGS, "paired": paired, "own_crc32": now}
        again = outcomes.resume(tmp_path / "a.npz", settings, NAMES, 10)
        np.testing.assert_array_equal(again.values[1:], found.values[1:])
        assert again.known(CLEAN) == kept
        assert (again.settings["paired"], again.settings["own_crc32"]) == (True, {"clean": 5})

    @pytest.mark.parametrize(
        ("now", "kept", "told"), [({"fog": 6}, False, 6), ({}, True, 5), ({"fog": 5, "snow": 1}, True, 5)]
    )
    def test_a_corruption_of_other_images_is_measured_again_and_it_alone(self, tmp_path, now, kept, told):
        found = measured(("snow", "fog"), own_crc32={"snow": 1, "fog": 5})
        found.save(tmp_path / "a.npz")
        settings = {**SETTINGS, "names": ["snow", "fog"], "own_crc32": now}
        again = outcomes.resume(tmp_path / "a.npz", settings, ("snow", "fog"), 10)
        assert again.cells == found.cells
        for cell in found.cells:
            assert again.known(cell) == (kept or cell.corruption != "fog")
            if again.known(cell):
                np.testing.assert_array_equal(again.row(cell), found.row(cell))
        assert again.settings["own_crc32"] == {"snow": 1, "fog": told}
        assert again.replaced == (() if kept else ("fog",))

    def test_a_damaged_file_begins_anew(self, tmp_path):
        measured().save(tmp_path / "a.npz")
        whole = (tmp_path / "a.npz").read_bytes()
        # In the third the compressed values are damaged, and nothing else.
        place = whole.index(b"values.npy") + 60
        for content in (b"", b"PK\x03\x04 and no more", whole[:place] + bytes(9) + whole[place + 9 :], whole[:-30]):
            (tmp_path / "a.npz").write_bytes(content)
            assert (outcomes.resume(tmp_path / "a.npz", SETTINGS, NAMES, 10).values == UNKNOWN).all()

    def test_a_file_that_cannot_be_read_now_is_not_taken_for_a_damaged_one(self, tmp_path, monkeypatch):
        measured().save(tmp_path / "a.npz")

        def failing(*_, **__):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(np, "load", failing)
        with pytest.raises(OSError, match="Input/output error"):
            outcomes.resume(tmp_path / "a.npz", SETTINGS, NAMES, 10)


class TestSummary:
    def test_counts_are_exact(self):
        found = measured()
        summary = summarize(found)
        for name in NAMES:
            rows = np.stack([found.row(Cell(name, severity)) for severity in SEVERITIES])
            entry = summary["corruptions"][name]
            assert entry["correct"] == (rows == 2).sum(1).tolist()
            assert entry["errors"] == (rows != 2).mean(1).tolist()
            np.testing.assert_allclose(entry["error"], (rows != 2).mean())
            assert entry["interval"][0] <= entry["error"] <= entry["interval"][1]
            assert "ce" not in entry
        clean = found.row(CLEAN)
        assert summary["clean"]["correct"] == (clean == 2).sum()
        assert summary["clean"]["correct_top5"] == (clean != 0).sum()

    def test_the_mean_is_over_the_common_ones_and_says_which(self):
        summary = summarize(measured())
        assert summary["mean_over"] == ["snow", "fog"]
        means = [summary["corruptions"][name]["error"] for name in ("fog", "snow")]
        np.testing.assert_allclose(summary["mean_error"]["error"], np.mean(means))
        assert "mce" not in summary
        [line] = [line for line in conclusions(summary) if "mean error" in line]
        assert "2 corruptions, WITHOUT gaussian_noise" in line
        assert "frost" in line

    def test_what_is_half_measured_is_in_no_mean(self):
        found = measured()
        found.row(Cell("snow", 5))[9] = UNKNOWN
        summary = summarize(found)
        assert set(summary["corruptions"]) == {"fog", "saturate"}
        assert summary["mean_over"] == ["fog"]
        assert not summary["complete"]

    def test_nothing_measured_is_nothing_told(self):
        summary = summarize(outcomes.blank(SETTINGS, NAMES, 10))
        assert (summary["corruptions"], summary["clean"], summary["mean_over"]) == ({}, None, [])
        assert "mean_error" not in summary

    def test_imagenet_is_put_beside_alexnet(self):
        summary = summarize(measured(tuple(COMMON), beside_alexnet=True))
        errors = {name: np.array(entry["errors"]) for name, entry in summary["corruptions"].items()}
        np.testing.assert_allclose(summary["mce"]["error"], mce.mce(errors))
        relative = mce.relative_mce(errors, np.array(summary["clean"]["error"]))
        np.testing.assert_allclose(summary["relative_mce"]["error"], relative)
        np.testing.assert_allclose(summary["corruptions"]["fog"]["ce"], errors["fog"].mean() / 0.819324)
        assert "over the 15 corruptions" in " ".join(conclusions(summary))

    def test_of_clean_images_in_another_order_only_the_mean_is_told(self):
        names = tuple(COMMON)
        known, unknown = (summarize(measured(names, beside_alexnet=True, paired=paired)) for paired in (True, False))
        np.testing.assert_allclose(unknown["relative_mce"]["error"], known["relative_mce"]["error"])
        assert unknown["relative_mce"]["interval"] is None
        assert unknown["mce"] == known["mce"]
        assert known["relative_mce"]["interval"]
        assert "relative mCE" in conclusions(unknown)[-1]
        assert "order of their own" in conclusions(unknown)[-1]

    @pytest.mark.parametrize(
        ("settings", "told"),
        [
            ({"stored": "memory"}, "mCE (generated in memory; ImageNet-C is stored as JPEG 85: not comparable"),
            ({"stored": "jpeg85"}, "mCE (generated and stored as JPEG 85: other draws than ImageNet-C's):"),
            ({"stored": None, "suite": "imagenet_c"}, "mCE: "),
            (
                {"stored": None, "suite": "imagenet_c", "image_shape": [128, 96, 3]},
                "mCE (of 128 x 96 pixels, where severities and AlexNet's errors are of 224 x 224): ",
            ),
        ],
    )
    def test_mce_says_of_which_images_it_is(self, settings, told):
        lines = conclusions(summarize(measured(tuple(COMMON), beside_alexnet=True, **settings)))
        assert [line for line in lines if line.startswith(told)]
        assert [line for line in lines if line.startswith(f"relative {told}")]

    def test_without_frost_there_is_no_mce(self):
        names = tuple(name for name in COMMON if name != "frost")
        summary = summarize(measured(names, beside_alexnet=True))
        assert summary["complete"]
        assert "mce" not in summary
        assert len(summary["mean_over"]) == 14
        assert conclusions(summary)[-1] == "no mCE, which is of all 15"

    def test_without_clean_images_there_is_no_relative_mce(self):
        found = measured(tuple(COMMON), beside_alexnet=True, paired=None)
        found.row(CLEAN)[:] = UNKNOWN
        summary = summarize(found)
        assert "mce" in summary
        assert "relative_mce" not in summary
        assert "no clean error and no relative mCE: the run's own test images" in conclusions(summary)[-1]
        without = summarize(replace(found, settings={**found.settings, "beside_alexnet": False}))
        assert conclusions(without)[-1].startswith("no clean error: the run's own test images")
