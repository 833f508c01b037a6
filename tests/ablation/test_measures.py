"""Measures of a finished run that configs may name."""

import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.ablation.measures import lipschitz_gaps
from bnn_jax.config import LossConfig, StageConfig, TeacherConfig, component
from bnn_jax.regularizers import lipschitz_term
from bnn_jax.training.checkpoint import Bookkeeping, Checkpoints
from bnn_jax.training.state import LOSSES
from tests.evaluation.test_spectral import matrices, saved, staged
from tests.training import toy

PAIRS = ("stage1 to stage2", "stage2 to stage3")


def test_gaps_are_those_of_the_last_checkpoint_by_pair_and_as_the_loss_saw_them(tmp_path):
    config = toy.config(model=component(staged), teacher=TeacherConfig("teacher"))
    config.losses.append(LossConfig("lipschitz", component(lipschitz_term), 1e-3))
    config.stages = [StageConfig("teacher", toy.config(model=component(staged), seed=9))]
    best = saved(tmp_path, config, scales=[1.0, 1.0, 1.0])
    params = {**best.params, "conv2": {name: 2 * value for name, value in best.params["conv2"].items()}}
    params[LOSSES] = {"lipschitz": {"scales": jnp.asarray([2.0, -3.0, 0.5])}}
    last = best.replace(step=np.asarray(20, np.int32), params=params)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(last, Bookkeeping(), 0.25)
    checkpoints.close()
    found = lipschitz_gaps(tmp_path)
    assert list(found) == [f"{gap}, {pair}" for gap in ("gap", "scaled gap") for pair in PAIRS]
    own, theirs = matrices(config, last.variables), matrices(config, last.teacher)
    for pair, factor, mine, other in zip(PAIRS, (6.0, 1.5), own, theirs, strict=True):
        norm, target = (np.linalg.svd(m, compute_uv=False)[:, 0] for m in (mine, other))
        np.testing.assert_allclose(found[f"gap, {pair}"], np.abs(norm - target).mean(), 1e-4)
        np.testing.assert_allclose(found[f"scaled gap, {pair}"], np.abs(factor * norm - target).mean(), 1e-4)
    assert not (tmp_path / "lipschitz.json").exists()


def test_a_run_without_a_teacher_has_no_gaps(tmp_path):
    saved(tmp_path, toy.config(model=component(staged)))
    with pytest.raises(ValueError, match=r"the run in .* has no teacher"):
        lipschitz_gaps(tmp_path)
