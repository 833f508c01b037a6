"""The report of flips and latent weights over a run, alone and beside another."""

import json
from contextlib import closing
from copy import deepcopy

import jax
import numpy as np
import pytest

from bnn_jax.ablation import measures
from bnn_jax.binarizers import rebnn
from bnn_jax.config import LossConfig, StageConfig, TeacherConfig, component, to_dict
from bnn_jax.evaluation import oscillation_view as view
from bnn_jax.evaluation.oscillation import by_epoch, distribution, oscillation
from bnn_jax.regularizers import distillation_term
from bnn_jax.training import optimizer, workdir
from bnn_jax.training.assembly import assemble
from bnn_jax.training.checkpoint import Bookkeeping, Checkpoints
from bnn_jax.training.recipe import prepare
from bnn_jax.training.run_log import RunLog
from tests.training import toy

RECORDS = ((7, 0.7, 0.4, 0.1), (10, 1.0, 0.2, 0.0), (14, 1.4, 0.1, 0.05), (20, 2.0, 0.3, 0.01))


def saved(folder, records=RECORDS, layers=("conv", "dense"), factor=1.0):
    """A run whose last checkpoint has random weights, and telemetry: step, epoch, flips, flips back of the first layer.

    Its best checkpoint holds zeros.
    """
    made = toy.config()
    made.model.binary_dense = True
    workdir.claim(folder, made)
    state = assemble(made).init_state()
    checkpoints = Checkpoints(folder)
    best = state.replace(step=np.asarray(10, np.int32), params=jax.tree.map(np.zeros_like, state.params))
    checkpoints.save(best, Bookkeeping(), 0.9)
    checkpoints.save(state.replace(step=np.asarray(20, np.int32)), Bookkeeping(), 0.5)
    checkpoints.close()
    with RunLog(folder, tensorboard=False) as log:
        for step, epoch, flips, back in records:
            of = {
                name: {"flip_ratio": factor * flips / (i + 1), "flip_back_ratio": factor * back / (i + 1)}
                for i, name in enumerate(layers)
            }
            log.write("telemetry", step, epoch, layers=of)
            log.write("train", step, epoch, loss=1.0)
    return state


def near_zero(w):
    filters = w.reshape(-1, w.shape[-1])
    return np.mean([np.abs(f) < 0.1 * np.sqrt(np.mean(f**2)) for f in filters.T])


def test_ratios_are_means_over_the_records_of_each_epoch_and_weights_those_of_the_last_checkpoint(tmp_path, capsys):
    state = saved(tmp_path)
    result = oscillation(tmp_path)
    assert json.loads((tmp_path / "oscillation.json").read_text()) == result
    assert (tmp_path / "oscillation.png").read_bytes().startswith(b"\x89PNG")
    run = result["run"]
    assert (run["folder"], run["step"], list(run["layers"])) == (str(tmp_path), 20, ["conv", "dense"])
    for name, share in (("conv", 1.0), ("dense", 0.5)):
        layer = run["layers"][name]
        assert layer["epochs"] == [1, 2]
        np.testing.assert_allclose(layer["flip_ratio"], np.multiply([0.3, 0.2], share))
        np.testing.assert_allclose(layer["flip_back_ratio"], np.multiply([0.05, 0.03], share))
        w = np.asarray(state.params[name]["kernel"], np.float64)
        assert layer["near_zero"] == near_zero(w)
    shown = capsys.readouterr().out
    for part in ("conv", "mean", "3.00e-02", "oscillation.png", "at the end (step 20)"):
        assert part in shown


def test_a_recipe_of_three_stages_from_its_first_step_to_the_report(tmp_path):
    made = toy.config(epochs=2)
    made.model.weights, made.run.telemetry_every = component(rebnn), 3
    made.optimizer.transform, made.optimizer.learning_rate = component(optimizer.adam), 0.03
    first = deepcopy(made)
    first.model.weights = None
    teacher = deepcopy(first)
    first.losses = made.losses = [LossConfig("distillation", component(distillation_term))]
    first.teacher = made.teacher = TeacherConfig("teacher")
    made.init_from = "first"
    made.stages = [StageConfig("teacher", teacher), StageConfig("first", first)]
    sessions = prepare(made, tmp_path)
    for session in reversed(sessions):
        session.claim()
    for session in sessions:
        assert session.train() == 0
    result = oscillation(tmp_path, against=tmp_path)
    assert result["run"] == result["against"]
    conv = result["run"]["layers"]["conv"]
    assert conv["epochs"] == [1, 2]
    assert max(conv["flip_ratio"]) > 0
    # What the adaptive rule remembers of a step are its two factors and their product.
    assert 0 < conv["memory_gamma"][-1] < conv["memory_flips"][-1]
    assert measures.oscillation(tmp_path)["remembered gamma, last epoch"] == conv["memory_gamma"][-1]
    state, _ = toy.stored(tmp_path, made)
    with closing(Checkpoints(tmp_path / "first", read_only=True)) as checkpoints:
        kernel = np.asarray(checkpoints.variables(checkpoints.step_of("last"))["params"]["conv"]["kernel"], np.float64)
    # The scale began at the mean magnitude of what the first stage learned, and has moved since.
    began = np.asarray(assemble(made).start_state(tmp_path).params["conv"]["scale"])
    np.testing.assert_allclose(began, np.abs(kernel).mean((0, 1, 2)), 1e-6)
    assert (np.asarray(state.params["conv"]["scale"]) != began).all()
    assert max(record["loss/binarizers"] for record in toy.records(tmp_path, "train")) > 0


def test_two_runs_are_shown_side_by_side(tmp_path, capsys):
    saved(tmp_path / "a")
    saved(tmp_path / "b", factor=2.0)
    result = oscillation(tmp_path / "a", against=tmp_path / "b")
    ratios = [result[who]["layers"]["conv"]["flip_ratio"][-1] for who in ("run", "against")]
    np.testing.assert_allclose(ratios, [0.2, 0.4])
    shown = capsys.readouterr().out
    assert "flips back, a" in shown
    assert "flips back, b" in shown
    assert not (tmp_path / "b" / "oscillation.json").exists()


def test_what_an_ablation_measures_are_means_over_layers(tmp_path):
    state = saved(tmp_path)
    found = measures.oscillation(tmp_path)
    weights = [np.asarray(state.params[name]["kernel"], np.float64) for name in ("conv", "dense")]
    near = np.mean([near_zero(w) for w in weights])
    assert found == pytest.approx(
        {
            "flips, last epoch": 0.2 * 0.75,
            "flips back, last epoch": 0.03 * 0.75,
            "flips back, whole run": 0.04 * 0.75,
            "latent weights near zero": near,
        }
    )


def test_an_epoch_without_a_record_is_left_out_and_one_at_its_end_belongs_to_it():
    first = {"flip_ratio": 0.5, "flip_back_ratio": 0.25, "memory_gamma": 0.1, "memory_new": 1.0, "scale_max": 1.0}
    later = {"flip_ratio": 0.4, "flip_back_ratio": 0.25, "memory_gamma": 0.3, "scale_max": 1.0}
    found = by_epoch([{"epoch": 1.0, "layers": {"conv": first}}, {"epoch": 2.5, "layers": {"conv": later}}], "conv")
    # What not every record has is of no use over epochs.
    ratios = {"flip_ratio": [0.5, 0.4], "flip_back_ratio": [0.25, 0.25], "memory_gamma": [0.1, 0.3]}
    assert found == {"epochs": [1, 3], **ratios}


def test_a_run_that_is_further_is_compared_at_the_last_epoch_of_both(tmp_path, capsys):
    saved(tmp_path / "a")
    saved(tmp_path / "b", records=RECORDS[:2])
    oscillation(tmp_path / "a", against=tmp_path / "b")
    shown = capsys.readouterr().out
    assert "a step of epoch 1," in shown
    first = next(line for line in shown.splitlines() if line.split()[:1] == ["conv"])
    assert first.split()[1:3] == ["3.00e-01", "3.00e-01"]
    saved(tmp_path / "c", records=RECORDS[2:])
    with pytest.raises(ValueError, match="have telemetry of no epoch in common: train both further"):
        oscillation(tmp_path / "b", against=tmp_path / "c")


def test_the_picture_shows_ratios_and_weights_of_the_first_the_middle_and_the_last_layer():
    def run(folder, factor):
        shares = {"epochs": [1.0, 2.0], "flip_ratio": [0.4 * factor, 0.2], "flip_back_ratio": [0.1 * factor, 0.0]}
        return {
            "folder": folder,
            "layers": {f"layer{i}": {**shares, "density": [float(i)] * view.BINS} for i in range(5)},
        }

    drawn = view.picture({"run": run("runs/one", 1.0), "against": run("runs/other", 0.5)})
    lines = ["flips, one", "flips back, one", "flips, other", "flips back, other"]
    assert legend(drawn) == [*lines, "latent weights, one", "latent weights, other"]
    panels = drawn.axes
    above, below = panels[:3], panels[3:]
    assert [axes.get_title() for axes in above] == ["layer0", "layer2", "layer4"]
    for axes in above:
        lines = {line.get_label(): line.get_ydata().tolist() for line in axes.get_lines()}
        assert lines["flips, one"] == [0.4, 0.2]
        assert lines["flips, other"] == [0.2, 0.2]
        assert lines["flips back, one"][0] == 0.1
        assert np.isnan(lines["flips back, one"][1])  # a logarithm has no place for 0
        assert axes.get_yscale() == "log"
    for axes, number in zip(below, (0.0, 2.0, 4.0), strict=True):
        assert [line.get_label() for line in axes.get_lines()] == ["one", "other"]
        for line in axes.get_lines():
            assert set(line.get_ydata()) == {number}
            np.testing.assert_allclose(line.get_xdata(), -line.get_xdata()[::-1], atol=1e-12)


def legend(drawn):
    return [text.get_text() for text in drawn.legends[0].get_texts()]


def test_folders_of_one_name_are_told_apart_by_their_place():
    for folders, called in (
        (["a/x", "a/y"], ["x", "y"]),
        (["r/a/x", "r/b/x"], ["a/x", "b/x"]),
        (["r/x", "x"], ["r/x", "x"]),
        (["a/x", "a/x"], ["run", "against"]),
        (["a/x"], ["run"]),
    ):
        result = dict(zip(("run", "against"), ({"folder": folder} for folder in folders), strict=False))
        assert view.names(result) == called


def test_two_heaps_are_told_from_three():
    rng = np.random.default_rng(0)
    ends = np.concatenate([rng.normal(m, 0.1, 1000) for m in (-1, 1)])[:, None]
    heap = rng.normal(0, 0.05, (8000, 1))
    # Filters of very different scales.
    scales = np.asarray([1.0, 0.2, 0.05])
    two, three = distribution(ends * scales), distribution(np.concatenate([ends, heap]) * scales)
    middle, bins = view.BINS // 2, np.linspace(-view.WIDEST, view.WIDEST, view.BINS + 1)
    assert two["near_zero"] < 0.001
    assert three["near_zero"] > 0.4
    assert two["density"][middle] < 0.01 < 1 < three["density"][middle]
    for found, place in ((two, 1.0), (three, 0.2**-0.5)):
        density = np.asarray(found["density"])
        np.testing.assert_allclose(density.sum() * np.diff(bins)[0], 1.0)
        # The outer heaps stand apart, in sight, and where they belong.
        outer = np.where(bins[1:] > 0.6, density, 0)
        assert abs(bins[np.argmax(outer)] - place) < 0.25
        assert density[-3:].max() < 0.01 * outer.max()


def test_weights_of_zero_and_layers_at_rest_are_no_error(tmp_path):
    assert distribution(np.zeros((3, 2)))["near_zero"] == 1
    layer = {"epochs": [1.0], "flip_ratio": [0.0], "flip_back_ratio": [0.0], **distribution(np.zeros((3, 2)))}
    result = {"run": {"folder": "runs/x", "layers": {"conv": layer}}}
    view.draw(result, tmp_path / "x.png")
    assert (tmp_path / "x.png").exists()
    assert legend(view.picture(result)) == ["flips, run: none", "flips back, run: none", "latent weights, run"]


def test_what_cannot_be_shown_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not the folder of a run"):
        oscillation(tmp_path / "nowhere")
    saved(tmp_path / "silent", records=())
    with RunLog(tmp_path / "silent", tensorboard=False) as log:
        log.write("train", 5, 0.5, loss=1.0)
    with pytest.raises(ValueError, match=r"due yet\. They come every 7 steps, .* ends at step 5\. Train"):
        oscillation(tmp_path / "silent")
    made = workdir.read_config(tmp_path / "silent")
    made.run.telemetry_every = 0
    workdir.write_json(tmp_path / "silent" / workdir.CONFIG, to_dict(made))
    with pytest.raises(ValueError, match="telemetry_every is 0 there"):
        oscillation(tmp_path / "silent")
    workdir.write_json(tmp_path / "silent" / "summary.json", {"totals": {"binary_params": 0}})
    with pytest.raises(ValueError, match="its network has no binary weights"):
        oscillation(tmp_path / "silent")
    saved(tmp_path / "one", layers=("conv",))
    saved(tmp_path / "other", layers=("dense",))
    with pytest.raises(ValueError, match="have no binary layer in common"):
        oscillation(tmp_path / "one", against=tmp_path / "other")
    saved(tmp_path / "strange", layers=("elsewhere",))
    with pytest.raises(ValueError, match=r"telemetry and its last checkpoint are of two networks: .*'elsewhere"):
        oscillation(tmp_path / "strange")
