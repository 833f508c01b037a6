"""The report of spectral norms, of a network and its teacher."""

import json

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.config import LossConfig, StageConfig, TeacherConfig, component
from bnn_jax.data import normalize
from bnn_jax.evaluation import spectral, spectral_view
from bnn_jax.regularizers import lipschitz_term
from bnn_jax.training import workdir
from bnn_jax.training.assembly import assemble
from bnn_jax.training.checkpoint import Bookkeeping, Checkpoints
from bnn_jax.training.state import LOSSES
from tests.training import toy


class Staged(nn.Module):
    """Two or three convolutions whose outputs are stages, each half the size."""

    num_classes: int
    stages: int

    @nn.compact
    def __call__(self, x, *, train=False, progress=0.0):
        features = {}
        for i in range(1, self.stages + 1):
            x = nn.Conv(2 + i, (3, 3), (2, 2), name=f"conv{i}")(x)
            features[f"stage{i}"] = x
        return nn.Dense(self.num_classes)(x.mean((1, 2))), features


def staged(num_classes: int, stages: int = 3) -> Staged:
    return Staged(num_classes, stages)


def saved(folder, config, scales=None):
    """A run with one checkpoint of random weights; its state."""
    workdir.claim(folder, config)
    state = assemble(config).init_state()
    if scales is not None:
        learned = {LOSSES: {"lipschitz": {"scales": jnp.asarray(scales)}}}
        state = state.replace(params={**state.params, **learned})
    state = state.replace(step=np.asarray(10, np.int32))
    checkpoints = Checkpoints(folder)
    checkpoints.save(state, Bookkeeping(), 0.5)
    checkpoints.close()
    return state


def matrices(config, variables):
    """Retention matrices by the definition, float64: [(images, channels, channels')]."""
    experiment = assemble(config)
    info, test = experiment.splits.info, experiment.splits.test
    images = normalize(test.images[: spectral.IMAGES], info.mean, info.std)
    _, features = experiment.model.apply(variables, images)
    a, b, c = (np.asarray(features[f"stage{i}"], np.float64) for i in (1, 2, 3))
    pool = a.reshape(len(a), 2, 2, 2, 2, -1).mean((2, 4))
    pool_b = b.mean((1, 2), keepdims=True)
    return [np.einsum("bhwc,bhwd->bcd", *pair) / pair[1][0, ..., 0].size for pair in ((pool, b), (pool_b, c))]


def test_norms_of_network_and_teacher_gaps_and_errors(tmp_path, capsys):
    config = toy.config(model=component(staged), teacher=TeacherConfig("teacher"))
    config.stages = [StageConfig("teacher", toy.config(model=component(staged), seed=9))]
    state = saved(tmp_path, config)
    result = spectral.lipschitz(tmp_path)
    assert json.loads((tmp_path / "lipschitz.json").read_text()) == result
    assert (tmp_path / "lipschitz.png").read_bytes().startswith(b"\x89PNG")
    assert (result["images"], result["step"]) == (359, 10)
    assert [pair["pair"] for pair in result["pairs"]] == ["stage1 to stage2", "stage2 to stage3"]
    own, theirs = matrices(config, state.variables), matrices(config, state.teacher)
    for pair, mine, other in zip(result["pairs"], own, theirs, strict=True):
        norm, target = (np.linalg.svd(m, compute_uv=False)[:, 0] for m in (mine, other))
        first = np.linalg.norm(mine @ mine.swapaxes(1, 2) @ np.ones(mine.shape[1]), axis=-1) ** 0.5
        np.testing.assert_allclose(pair["network"]["exact"], norm.mean(), 1e-4)
        np.testing.assert_allclose(pair["network"]["1"], first.mean(), 1e-4)
        np.testing.assert_allclose(pair["teacher"]["exact"], target.mean(), 1e-4)
        np.testing.assert_allclose(pair["gap"], np.abs(norm - target).mean(), 2e-5)
        np.testing.assert_allclose(pair["error"]["1"], (np.abs(first - norm) / norm).mean(), 1e-4)
        theirs_first = np.linalg.norm(other @ other.swapaxes(1, 2) @ np.ones(other.shape[1]), axis=-1) ** 0.5
        np.testing.assert_allclose(pair["teacher"]["1"], theirs_first.mean(), 1e-4)
        np.testing.assert_allclose(pair["teacher error"]["1"], (np.abs(theirs_first - target) / target).mean(), 1e-4)
        assert pair["error"]["exact"] == pair["teacher error"]["exact"] == 0
    shown = capsys.readouterr().out
    for part in ("359 test images, best checkpoint (step 10)", "stage1 to stage2", "scaled gap", "lipschitz.png"):
        assert part in shown
    for pair in result["pairs"]:
        for who in ("network", "teacher"):
            assert all(f"{pair[who][way]:.4g}" in shown for way in ("1", "10", "exact"))


def test_the_last_checkpoint_is_reported_on_if_asked_for(tmp_path, capsys):
    state = saved(tmp_path, toy.config(model=component(staged)))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state.replace(step=np.asarray(20, np.int32)), Bookkeeping(), 0.4)
    checkpoints.close()
    found = [spectral.lipschitz(tmp_path, checkpoint=which) for which in ("best", "last")]
    assert [(one["checkpoint"], one["step"]) for one in found] == [("best", 10), ("last", 20)]
    assert "last checkpoint (step 20)" in capsys.readouterr().out


def test_without_a_teacher_the_network_stands_alone(tmp_path, capsys):
    saved(tmp_path, toy.config(model=component(staged)))
    result = spectral.lipschitz(tmp_path)
    assert all("teacher" not in pair and "gap" not in pair for pair in result["pairs"])
    assert all(np.isfinite(pair["network"]["exact"]) for pair in result["pairs"])


def test_a_network_of_one_stage_is_refused(tmp_path):
    saved(tmp_path, toy.config(model=component(staged, stages=1)))
    with pytest.raises(ValueError, match=r"a pair of stages is needed, and the network has the stages \['stage1'\]"):
        spectral.lipschitz(tmp_path)


def test_dead_maps_are_no_error(tmp_path):
    zeros = {way: np.zeros(3) for way in (*map(str, spectral.ITERATIONS), "exact")}
    described = spectral._describe(zeros, zeros)
    assert described["gap"] == 0
    assert set(described["error"].values()) == {0.0}
    pairs = [{"pair": "stage1 to stage2", **described}]
    spectral_view.draw({"pairs": pairs}, tmp_path / "x.png")
    assert jnp.isfinite(described["network"]["exact"])


def test_scales_which_the_loss_learned_are_told_apart(tmp_path):
    config = toy.config(model=component(staged), teacher=TeacherConfig("teacher"))
    config.losses.append(LossConfig("lipschitz", component(lipschitz_term), 1e-3))
    config.stages = [StageConfig("teacher", toy.config(model=component(staged), seed=9))]
    state = saved(tmp_path, config, scales=[2.0, -3.0, 0.5])
    own, theirs = matrices(config, state.variables), matrices(config, state.teacher)
    pairs = spectral.lipschitz(tmp_path)["pairs"]
    for pair, factor, mine, other in zip(pairs, (6.0, 1.5), own, theirs, strict=True):
        norm, target = (np.linalg.svd(m, compute_uv=False)[:, 0] for m in (mine, other))
        assert pair["factor"] == factor
        np.testing.assert_allclose(pair["scaled gap"], np.abs(factor * norm - target).mean(), 2e-5)
