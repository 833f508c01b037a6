"""Means and deviations over seeds against NumPy, and how they are shown."""

import numpy as np
import pytest
from PIL import Image

from bnn_jax.ablation import picture, summary
from bnn_jax.ablation.summary import Result

VARIANTS = ["a", "b|c", "never run"]


@pytest.fixture
def results():
    """Three seeds of "a", one of "b|c", which alone has "extra"."""
    rng = np.random.default_rng(0)
    made = [Result("a", seed, {"accuracy": rng.uniform(), "gap": 1e-4 * rng.uniform()}) for seed in range(3)]
    return [*made, Result("b|c", 0, {"accuracy": 0.5, "gap": 1234.5678, "extra": 2.0})]


def test_mean_and_sample_deviation_are_numpys(results):
    table = summary.statistics(results, VARIANTS)
    assert list(table) == VARIANTS
    for column in ("accuracy", "gap"):
        found, expected = table["a"][column], [r.numbers[column] for r in results[:3]]
        assert found.mean == pytest.approx(np.mean(expected), rel=1e-12)
        assert found.deviation == pytest.approx(np.std(expected, ddof=1), rel=1e-12)
        assert found.n == 3
    assert table["b|c"]["gap"] == summary.Statistic(1234.5678, None, 1)
    assert set(table["a"]) == {"accuracy", "gap"}
    assert table["never run"] == {}


def test_a_row_for_each_variant_with_accuracy_first_and_in_percent(results):
    results[:3] = [Result("a", i, {"accuracy": x, "gap": 1e-3 * x}) for i, x in enumerate((0.5, 0.6, 0.7))]
    headings, body = summary.rows(summary.statistics(results, VARIANTS), summary.columns(results))
    assert headings == ["variant", "seeds", "test accuracy, %", "gap", "extra"]
    assert body == [
        ["a", "3", "60.00 ± 10.00", "0.0006 ± 0.0001", "-"],
        ["b|c", "1", "50.00", "1235", "2"],
        ["never run", "0", "-", "-", "-"],
    ]
    lines = summary.markdown(headings, body).splitlines()
    assert lines[0] == "| variant | seeds | test accuracy, % | gap | extra |"
    assert lines[1] == "| --- | --- | --- | --- | --- |"
    assert lines[3] == r"| b\|c | 1 | 50.00 | 1235 | 2 |"
    assert len(lines) == 5


def blue(path):
    """Pixels of a dot's colour."""
    with Image.open(path) as image:
        red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), int), -1, 0)
    return int(((blue - red > 60) & (green > red)).sum())


def test_the_picture_has_a_dot_for_each_number_of_each_run(results, tmp_path):
    picture.draw(results, VARIANTS, tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as image:
        assert image.size[0] == 1500
    # Nothing but the dots differs: the legend has one, and every panel those of its runs.
    single = [Result("a", 0, {"accuracy": 0.5})]
    picture.draw(single, ["a"], tmp_path / "two.png")
    dots = blue(tmp_path / "one.png") / (blue(tmp_path / "two.png") / 2)
    assert dots == pytest.approx(4 + 4 + 1 + 1, abs=1.5)
