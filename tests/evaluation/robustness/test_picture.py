"""What the pictures show of the figures they are drawn from."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.robustness import picture


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn."""
    made = []

    def figure(*size):
        made.append(whole(*size))
        return made[-1]

    whole = picture.figure
    monkeypatch.setattr(picture, "figure", figure)
    return made


def test_the_heat_map_has_every_corruption_at_every_severity(drawn, tmp_path, monkeypatch):
    errors = {"zoom_blur": [0.1, 0.2, 0.3, 0.4, 0.5], "saturate": [0.05, 0.15, 0.25, 0.35, 0.955]}
    summary = {
        "corruptions": {name: {"errors": values} for name, values in errors.items()},
        "clean": {"error": 0.047},
        "dataset": "toy",
        "checkpoint": "last",
        "mean_over": ["zoom_blur", "fog"],
        "mean_error": {"error": 0.3364},
    }
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    picture.heat_map(summary, folder / "corruptions_last.png")
    axes = drawn[0].axes[0]
    expected = np.array([[*values, np.mean(values)] for values in errors.values()])
    np.testing.assert_allclose(axes.images[0].get_array(), 100 * expected)
    assert [label.get_text() for label in axes.get_xticklabels()] == [*"12345", "mean"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["zoom blur", "saturate (extra)"]
    assert [text.get_text() for text in axes.texts][-3:] == ["35.0", "95.5", "35.1"]
    assert axes.get_title() == (
        "Error, %: toy, corruptions_last\nlast checkpoint of runs/one\nclean: 4.7 %, mean over 2 of the 15: 33.6 %"
    )
    names = list(corruptions.COMMON)
    picture.heat_map({**summary, "mean_over": names}, folder / "corruptions.png")
    assert drawn[1].axes[0].get_title().endswith("clean: 4.7 %, mean over the 15: 33.6 %")
    monkeypatch.chdir(folder)
    picture.heat_map({**summary, "clean": None, "mean_over": []}, Path("corruptions_seed1.png"))
    assert drawn[2].axes[0].get_title() == "Error, %: toy, corruptions_seed1\nlast checkpoint of runs/one"


def test_the_title_of_a_run_in_a_long_folder_fits(drawn, tmp_path):
    summary = {"corruptions": {"fog": {"errors": [0.5] * 5}}, "dataset": "toy", "checkpoint": "best"}
    summary.update(clean=None, mean_over=["fog"], mean_error={"error": 0.5})
    folder = tmp_path / ("long" * 30) / "one"
    folder.mkdir(parents=True)
    picture.heat_map(summary, folder / "corruptions.png")
    title = drawn[0].axes[0].title
    assert title.get_text().endswith("longlong/one\nmean over 1 of the 15: 50.0 %")
    box = title.get_window_extent()
    assert box.x0 > 0
    assert box.x1 < drawn[0].bbox.x1


def test_bars_of_a_corruption_stand_beside_each_other(drawn, tmp_path):
    runs = {"one": [0.1, 0.2], "two": [0.3, 0.4], "three": [0.5, 0.6]}
    picture.bars(["fog", "zoom_blur"], runs, "a title", tmp_path / "a.png")
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["fog", "zoom blur"]
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == list(runs)
    bars = sorted(axes.patches, key=lambda bar: bar.get_x())
    np.testing.assert_allclose([bar.get_height() for bar in bars], [10, 30, 50, 20, 40, 60])
    edges = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]
    assert all(right <= left for (_, right), (left, _) in pairwise(edges))
