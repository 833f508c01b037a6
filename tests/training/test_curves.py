"""Curves: the numbers behind the picture, and that a picture is drawn from whatever a log holds."""

from itertools import chain

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from bnn_jax.training import curves
from bnn_jax.training.run_log import RunLog, read_log

RESNET = [f"stage{s}_block{b}/conv{c}" for s in (1, 2, 3) for b in (1, 2, 3) for c in (1, 2)]


def log_run(workdir, points=10, layers=RESNET, flips=0.01, terms=()):
    with RunLog(workdir, tensorboard=False) as log:
        for i in range(1, points + 1):
            log.write(
                "train",
                i,
                i / 2,
                loss=1 / i,
                accuracy=1 - 1 / i,
                learning_rate=0.1,
                **{f"loss/{t}": 0.5 for t in terms},
            )
            log.write("telemetry", i, i / 2, layers={name: {"flip_ratio": flips / i} for name in layers})
            if i % 2 == 0:
                log.write("eval", i, i / 2, loss=1.1 / i, accuracy=0.9 - 1 / i)


def inked(path):
    """Pixels of the picture that are not white, and its size."""
    with Image.open(path) as image:
        return int(np.sum(np.asarray(image.convert("L")) < 250)), image.size


def test_a_picture_is_drawn(tmp_path):
    log_run(tmp_path)
    path = curves.draw_curves(tmp_path)
    assert path == tmp_path / "curves.png"
    ink, size = inked(path)
    assert size == (1500, 1000)
    assert ink > 10_000


@pytest.mark.parametrize(
    "options",
    [
        {"points": 1},
        {"points": 200},
        {"layers": []},
        {"flips": 0.0},  # nothing for a logarithmic axis
        {"layers": [f"conv{i}" for i in range(1, 30)]},
        {"terms": ["distillation"]},
    ],
)
def test_unusual_logs_draw_too(tmp_path, options):
    log_run(tmp_path, **options)
    assert inked(curves.draw_curves(tmp_path))[0] > 1000


@pytest.mark.parametrize(
    ("terms", "labels"),
    [
        (["cross_entropy", "binarizers"], ["training", "test"]),
        (["cross_entropy", "kurtosis"], ["training, all terms", "training, cross-entropy", "test, cross-entropy"]),
        (["distillation"], ["training, all terms", "test, cross-entropy"]),
    ],
)
def test_a_test_loss_is_shown_beside_what_it_can_be_compared_with(tmp_path, terms, labels):
    log_run(tmp_path, terms=terms)
    axes = Figure().subplots()
    curves._draw_loss(axes, read_log(tmp_path))
    assert axes.get_legend_handles_labels()[1] == labels


def test_empty_and_non_finite_logs_draw_too(tmp_path):
    with RunLog(tmp_path, tensorboard=False) as log:
        curves.draw_curves(tmp_path)
        log.write("train", 1, 0.1, loss=float("nan"))
        log.write("telemetry", 1, 0.1, layers={"a": {"flip_ratio": float("nan")}})
    curves.draw_curves(tmp_path)


def test_no_log_no_picture(tmp_path):
    with pytest.raises(FileNotFoundError):
        curves.draw_curves(tmp_path)


def test_matplotlib_is_neither_imported_early_nor_configured(run_python):
    out = run_python(
        """
        import sys, tempfile
        from bnn_jax.training.curves import draw_curves
        from bnn_jax.training.run_log import RunLog, read_log
        assert "matplotlib" not in sys.modules
        with tempfile.TemporaryDirectory() as folder:
            RunLog(folder).close()
            draw_curves(folder)
        print("matplotlib.pyplot" in sys.modules)
        """
    )
    assert out.strip() == "False"


def test_series_leave_out_what_is_missing():
    records = [
        {"kind": "train", "epoch": 1.0, "loss": 3.0},
        {"kind": "eval", "epoch": 1.0, "loss": 9.0},
        {"kind": "train", "epoch": 2.0, "loss": None},
        {"kind": "train", "epoch": 3.0},
        {"kind": "train", "epoch": 4.0, "loss": 1},
    ]
    epochs, values = curves.series(records, "train", "loss")
    assert epochs.tolist() == [1.0, 4.0]
    assert values.tolist() == [3.0, 1.0]


def test_flips_are_spread_over_the_layers_of_a_stage():
    layers = {f"stage{s}_block{b}/conv1": {"flip_ratio": s * b / 10} for s in (1, 2) for b in (1, 2, 3, 4)}
    groups = curves.flips_by_group([{"kind": "telemetry", "epoch": 2.0, "layers": layers}])
    assert list(groups) == ["stage1", "stage2"]
    epochs, spread = groups["stage2"]
    assert epochs.tolist() == [2.0]
    np.testing.assert_allclose(spread, [[0.2, 0.5, 0.8]])


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (RESNET, ["stage1", "stage2", "stage3"]),
        ([f"conv{i}" for i in range(1, 6)], [f"conv{i}" for i in range(1, 6)]),
        ([f"a{i}/conv{j}" for i in range(3) for j in range(4)], ["a0", "a1", "a2"]),
        ([f"conv{i}" for i in range(20)], ["conv"]),
        ([chr(97 + i) for i in range(20)], ["all layers"]),
        ([], []),
    ],
)
def test_groups_follow_names(names, groups):
    found = curves.group_layers(names)
    assert list(found) == groups
    assert sorted(chain.from_iterable(found.values())) == sorted(names)


def test_smoothing_keeps_constants_and_averages_inside():
    np.testing.assert_allclose(curves.smooth(np.full(9, 3.0), 5), 3.0)
    np.testing.assert_allclose(curves.smooth(np.array([0.0, 3, 6, 0]), 3), [1.5, 3, 3, 3])
