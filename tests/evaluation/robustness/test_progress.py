"""How far a measurement is, on a terminal and elsewhere."""

import re

import pytest

from bnn_jax.evaluation.robustness.progress import Steps


def test_elsewhere_lines_say_what_is_measured_and_how_far(capsys):
    with Steps(8, 2, interval=0.0) as steps:
        for number in range(6):
            steps.advance(f"fog {number}")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert re.fullmatch(r"fog 0  37\.5%  eta \S+", lines[0])
    assert re.fullmatch(r"fog 5  100\.0%  eta 0:00:00", lines[-1])


def test_lines_come_now_and_then(capsys):
    with Steps(8, interval=60.0) as steps:
        steps.advance("fog 1")
    assert not capsys.readouterr().out


@pytest.mark.parametrize("quiet", [False, True])
def test_on_a_terminal_there_is_a_bar(quiet, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with Steps(4, 1, interval=0.0, quiet=quiet) as steps:
        for severity in (1, 2, 3):
            steps.advance(f"snow {severity}")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().out)
    assert ("snow 3" in shown and "100 %" in shown) != quiet
    assert "eta" not in shown
