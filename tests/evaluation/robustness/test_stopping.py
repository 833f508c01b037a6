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
    opened = []

    def opening(*arguments):
        opened.append(arguments)
        found = prepare.prepare(*arguments)
        if len(opened) == 1:
            Collected()
        return found

    folder = run(tmp_path / "one")
    ask = {
        "one": lambda: report.robustness(folder, REQUEST),
        "several": lambda: compare.compare([folder, run(tmp_path / "two", seed=1)], REQUEST),
    }[runs]
    for module in (measure, compare):
        monkeypatch.setattr(module, "prepare", opening)
    with pytest.raises(KeyboardInterrupt) as stopped:
        ask()
    assert stopped.value.args == (signal.SIGINT,)
    assert not recorded
    assert len(opened) == 1
    assert not list(tmp_path.glob("*/corruptions*"))
