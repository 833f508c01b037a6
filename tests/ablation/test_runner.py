"""What comes after a run: its memory is free, and a signal or a failure of it has its effect."""

import weakref
from types import SimpleNamespace

import jax
import pytest

from bnn_jax.ablation import runner
from bnn_jax.ablation.plan import plan
from bnn_jax.ablation.record import Ablation
from bnn_jax.training.diagnosis import NonFiniteError
from bnn_jax.training.run_log import RunLog
from tests.training import toy


def plain():
    """Three runs of one epoch, of one variant."""
    return Ablation(toy.config(epochs=1), {"plain": {}}, seeds=(0, 1, 2))


@pytest.fixture
def acted(monkeypatch):
    """Replaces training: `acted.play(seed)` is called for each run, and gives the signal that it ends with."""

    def prepare(config, workdir):
        session = SimpleNamespace(finished=False, claim=lambda: None, outcome=None)

        def train():
            script.ran.append(config.seed)
            session.outcome = SimpleNamespace(signal=script.play(config.seed))
            with RunLog(workdir, tensorboard=False) as log:
                log.write("eval", 10, 1, accuracy=0.1 * config.seed)

        session.train = train
        return [session]

    script = SimpleNamespace(ran=[], play=lambda seed: 0)
    monkeypatch.setattr(runner, "prepare", prepare)
    return script


def test_a_signal_too_late_for_a_run_keeps_the_next_from_beginning(acted, tmp_path):
    acted.play = lambda seed: 15 if seed == 1 else 0
    ablation = plain()
    assert runner.run(ablation, plan(ablation, tmp_path), tmp_path) == 15
    assert acted.ran == [0, 1]
    acted.play = lambda seed: 0
    assert runner.run(ablation, plan(ablation, tmp_path), tmp_path) == 0
    assert acted.ran == [0, 1, 1, 2]


def test_a_run_that_is_not_finite_is_reported_after_the_others_and_tried_again(acted, tmp_path, capsys):
    def play(seed):
        if seed == 1:
            raise NonFiniteError("step 3 is not finite")
        return 0

    acted.play = play
    ablation = plain()
    for ran in ([0, 1, 2], [0, 1, 2, 1]):
        with pytest.raises(NonFiniteError, match=r"^plain, seed 1: step 3 is not finite$"):
            runner.run(ablation, plan(ablation, tmp_path), tmp_path)
        assert acted.ran == ran
    assert "10.00 ± 14.14" in capsys.readouterr().out  # of 0 and 20 %


def test_what_a_run_compiled_and_loaded_is_gone_when_the_next_is_prepared(tmp_path, monkeypatch):
    seen, alive, programs = [], [], []

    def prepare(config, workdir):
        alive.append([ref() is not None for ref in seen])
        programs.append(len(jax.devices()[0].client.live_executables()))
        sessions = prepare_truly(config, workdir)
        seen.extend(weakref.ref(session.experiment) for session in sessions)
        return sessions

    prepare_truly = runner.prepare
    monkeypatch.setattr(runner, "prepare", prepare)
    ablation = Ablation(toy.config(epochs=1), {"plain": {}}, seeds=(0, 1))
    assert runner.run(ablation, plan(ablation, tmp_path), tmp_path) == 0
    assert alive == [[], [False]]
    assert programs[1] <= programs[0], programs
