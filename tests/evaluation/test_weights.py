"""The report of weights: their kurtosis, quantization error, entropy and histograms, before and after."""

import json
from copy import deepcopy

import flax.linen as nn
import jax
import numpy as np
import pytest

from bnn_jax.ablation.measures import weight_shapes
from bnn_jax.binarizers import WeightBinarizer, reactnet
from bnn_jax.config import LossConfig, StageConfig, TeacherConfig, component
from bnn_jax.evaluation import weights
from bnn_jax.inspect import get, put
from bnn_jax.layers import BinaryConv
from bnn_jax.regularizers import distillation_term, kurtosis_term, mimicking_term
from bnn_jax.training import workdir
from bnn_jax.training.assembly import assemble
from bnn_jax.training.checkpoint import Bookkeeping, Checkpoints
from bnn_jax.training.recipe import prepare
from tests.reference import bimodal as reference
from tests.training import toy


class Two(nn.Module):
    """A full-precision convolution, a binary one, a classifier."""

    num_classes: int
    weights: WeightBinarizer | None

    @nn.compact
    def __call__(self, x, *, train=False, progress=0.0):
        x = BinaryConv(3, name="stem_conv")(x, train=train, progress=progress)
        x = BinaryConv(4, self.weights, name="conv")(x, train=train, progress=progress)
        return nn.Dense(self.num_classes, name="classifier")(x.mean((1, 2))), {}


def two(num_classes: int, weights: WeightBinarizer | None = None) -> Two:
    return Two(num_classes, weights)


def config(**changes):
    made = toy.config(model=component(two, weights=component(reactnet)), **changes)
    made.losses.append(LossConfig("kurtosis", component(kurtosis_term, target=1.4)))
    return made


def saved(folder, made, kernel):
    """A run whose best and last checkpoint has this kernel in its second convolution; the state it began with."""
    workdir.claim(folder, made)
    state = assemble(made).init_state()
    trained = state.replace(params=put(state.params, ("conv", "kernel"), kernel), step=np.asarray(10, np.int32))
    checkpoints = Checkpoints(folder)
    checkpoints.save(trained, Bookkeeping(), 0.5)
    checkpoints.close()
    return state


HEAPS = np.where(np.random.default_rng(0).random((3, 3, 3, 4)) < 0.5, -0.5, 0.5).astype(np.float32)


def test_every_number_is_its_definition(tmp_path, capsys):
    began = saved(tmp_path, config(), HEAPS)
    result = weights.weights(tmp_path)
    assert json.loads((tmp_path / "weights.json").read_text()) == result
    assert (tmp_path / "weights.png").read_bytes().startswith(b"\x89PNG")
    stem, conv = result["layers"]
    assert [(row["layer"], row["binary"], row["target"]) for row in (stem, conv)] == [
        ("stem_conv", False, None),
        ("conv", True, 1.4),
    ]
    before = np.asarray(get(began.params, ("conv", "kernel")), np.float64)
    scale = np.abs(before).mean((0, 1, 2))
    error = np.square(before - scale * np.sign(before)).sum() / np.square(before).sum()
    np.testing.assert_allclose(conv["before"]["kurtosis"], reference.kurtosis(before), 1e-5)
    np.testing.assert_allclose(conv["before"]["error"], error, 1e-5)
    np.testing.assert_allclose(conv["before"]["binarized error"], error, 1e-5)  # this method's scale is the best one
    # Two heaps: nothing is lost.
    np.testing.assert_allclose(conv["after"]["kurtosis"], reference.kurtosis(HEAPS), 1e-5)
    np.testing.assert_allclose(conv["after"]["error"], 0, atol=1e-6)
    share = (HEAPS > 0).mean((0, 1, 2))
    entropy = np.mean(-share * np.log2(share) - (1 - share) * np.log2(1 - share))
    np.testing.assert_allclose(conv["after"]["entropy"], entropy, 1e-5)
    for row in (stem, conv):
        assert sum(row["before"]["histogram"]) == pytest.approx(1)
    assert np.count_nonzero(conv["after"]["histogram"]) == 2
    shown = capsys.readouterr().out
    for part in ("stem_conv", "1.4", " -> 0.0000", "weights.png"):
        assert part in shown


def test_a_recipe_of_two_stages_shapes_the_weights_and_the_report_begins_where_the_second_did(tmp_path):
    made = toy.config(epochs=2)
    made.model.weights = component(reactnet)
    kurtosis = LossConfig("kurtosis", component(kurtosis_term, target=1.2, where="^conv/kernel$", skip=""), 3.0)
    first = deepcopy(made)
    first.model.weights, first.epochs = None, 4
    first.losses.append(kurtosis)
    made.losses += [
        kurtosis,
        LossConfig("mimicking", component(mimicking_term, where="^conv/kernel$", skip=""), 10.0),
        LossConfig("distillation", component(distillation_term)),
    ]
    made.init_from, made.teacher, made.stages = "first", TeacherConfig("first"), [StageConfig("first", first)]
    sessions = prepare(made, tmp_path)
    for session in reversed(sessions):
        session.claim()
    for session in sessions:
        assert session.train() == 0
    earlier = weights.describe(tmp_path / "first", "last")["layers"][0]
    later = weights.describe(tmp_path, "last")["layers"][0]
    assert (earlier["layer"], earlier["binary"], later["binary"]) == ("conv", False, True)
    for name in ("kurtosis", "error", "histogram"):
        assert later["before"][name] == earlier["after"][name]
    apart = [abs(row["kurtosis"] - 1.2) for row in (earlier["before"], earlier["after"])]
    assert apart[1] < 0.5 * apart[0]
    assert earlier["after"]["error"] < earlier["before"]["error"]
    terms = {name for name in toy.records(tmp_path, "train")[-1] if name.startswith("loss/")}
    assert terms >= {f"loss/{name}" for name in ("cross_entropy", "kurtosis", "mimicking", "distillation")}


def test_weights_that_came_from_a_run_that_is_gone_are_left_out(tmp_path, capsys):
    made = config()
    saved(tmp_path, made, HEAPS)
    made.init_from = "gone"
    (tmp_path / "config.json").unlink()
    workdir.claim(tmp_path, made)
    assert "without before" in weights.describe(tmp_path, "last")
    assert capsys.readouterr().out == ""
    result = weights.weights(tmp_path)
    assert all("before" not in row and "after" in row for row in result["layers"])
    assert "Without the weights before training" in capsys.readouterr().out


@pytest.mark.parametrize("start", ["", "start"])
def test_the_first_weights_are_known_where_only_the_teacher_is_gone(start, tmp_path):
    made = config()
    made.teacher, made.init_from = TeacherConfig("teacher"), start
    made.stages = [StageConfig("teacher", config()), StageConfig("start", config())]
    saved(tmp_path, made, HEAPS)
    saved(tmp_path / "start", config(), HEAPS)
    assert all("before" in row for row in weights.describe(tmp_path, "last")["layers"])


def test_constant_and_zero_weights_are_no_error(tmp_path):
    saved(tmp_path, config(), np.zeros_like(HEAPS))
    conv = weights.describe(tmp_path, "last")["layers"][1]
    assert (conv["after"]["kurtosis"], conv["after"]["error"]) == (0, 0)
    assert np.isfinite(jax.tree.leaves(conv["after"])).all()


def test_the_measure_of_an_ablation(tmp_path):
    saved(tmp_path, config(), HEAPS)
    kurtosis = reference.kurtosis(HEAPS)
    found = weight_shapes(tmp_path)
    assert found["kurtosis"] == pytest.approx(kurtosis, rel=1e-5)
    assert found["quantization error"] == pytest.approx(0, abs=1e-6)
    assert found["largest distance of a kurtosis from its target"] == pytest.approx(abs(kurtosis - 1.4), rel=1e-4)


def test_a_network_without_binary_layers_has_no_measure(tmp_path):
    made = config()
    made.model.weights = None
    saved(tmp_path, made, HEAPS)
    with pytest.raises(ValueError, match="has no binary layer"):
        weight_shapes(tmp_path)
