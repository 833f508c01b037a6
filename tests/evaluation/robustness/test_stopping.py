"""Signals that come before anything is measured."""

import os
import signal
import time

import pytest

from bnn_jax.evaluation.robustness import compare, measure, prepare, report
from tests.evaluation.robustness.made_runs import REQUEST, run


class Collected:
    """What is raised when it is collected, as by a signal's handler, Python drops."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)


@pytest.mark.parametrize("runs", ["one", "several"])
def test_a_signal_while_a_run_is_opened_is_heeded(tmp_path, recorded, monkeypatch, runs):
    def opening(*arguments):
        found = prepare.prepare(*arguments)
        monkeypatch.setattr(measure, "prepare", prepare.prepare)
        monkeypatch.setattr(compare, "prepare", prepare.prepare)
        Collected()
        return found

    folder = run(tmp_path / "one")
    asked, ask = {
        "one": (measure, lambda: report.robustness(folder, REQUEST)),
        "several": (compare, lambda: compare.compare([folder, run(tmp_path / "two", seed=1)], REQUEST)),
    }[runs]
    monkeypatch.setattr(asked, "prepare", opening)
    with pytest.raises(KeyboardInterrupt) as stopped:
        ask()
    assert stopped.value.args == (signal.SIGINT,)
    assert not recorded
    assert not list(tmp_path.glob("*/corruptions*"))
