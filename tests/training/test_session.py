"""One call of train.py, from inside."""

import os
import signal

import pytest

from bnn_jax.training.experiment import Experiment
from bnn_jax.training.session import Session
from tests.training import toy


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_first_state_is_made_stops_after_the_first_step(tmp_path, monkeypatch, capfd, number):
    start_state = Experiment.start_state

    def interrupted(self, *args, **kwargs):
        os.kill(os.getpid(), number)
        return start_state(self, *args, **kwargs)

    before = signal.getsignal(number)
    session = Session(toy.config(epochs=1), tmp_path)
    session.claim()
    with monkeypatch.context() as patch:
        patch.setattr(Experiment, "start_state", interrupted)
        assert session.train() == number
    assert "Stopping after the next step or batch, or run that is being opened; a second" in capfd.readouterr().err
    assert signal.getsignal(number) is before
    assert int(toy.stored(tmp_path, toy.config(epochs=1))[0].step) == 1
