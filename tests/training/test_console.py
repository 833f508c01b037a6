"""What is shown: plain lines at a measured pace, a bar on a terminal, tables on both."""

import io

import pytest

from bnn_jax.binarizers import siman, siman_activations
from bnn_jax.models import vgg_small
from bnn_jax.summary import summarize
from bnn_jax.tables import plain_table
from bnn_jax.training.console import Console, describe, duration, table

VALUES = {"loss": 1.23456, "accuracy": 0.5, "learning_rate": 0.1, "images_per_s": 1234.5, "loss/other": 3.0}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_plain_line(capsys):
    with Console(1000, total_epochs=10) as console:
        console.update(10, 0.1, VALUES)
    expected = "epoch 0.1/10  step 10/1,000  loss 1.2346  accuracy 50.00%  lr 0.1  images/s 1,234  eta -:--:--\n"
    assert capsys.readouterr().out == expected


def test_plain_lines_come_by_interval_epoch_and_end():
    out, clock = io.StringIO(), Clock()
    with Console(30, file=out, clock=clock, interval=10.0) as console:
        for step in range(1, 31):
            clock.now += 3
            console.update(step, step / 15, {})
    # First report; every 12 s (the first multiple of 3 beyond 10); 16: a new epoch; 30: the end.
    assert [int(line.split()[3].split("/")[0]) for line in out.getvalue().splitlines()] == [
        *(1, 5, 9, 13),
        *(16, 20, 24, 28),
        30,
    ]


def test_eta_is_from_the_pace_since_the_first_report():
    out, clock = io.StringIO(), Clock()
    console = Console(100, file=out, clock=clock, interval=0.0)
    clock.now += 500  # compiling
    console.update(41, 0.1, {})  # resumed at 40
    clock.now += 20
    console.update(51, 0.2, {})
    clock.now += 20
    console.update(100, 1.0, {})
    assert [line.split("eta ")[1] for line in out.getvalue().splitlines()] == [
        "-:--:--",
        "0:01:38",
        "0:00:00",
    ]


def test_lines_of_results_are_never_wrapped():
    out = io.StringIO()
    console = Console(100, file=out, total_epochs=4)
    console.evaluated(25, 1, 0.9123, -1.0)
    console.evaluated(50, 2, 0.9123, 0.9123)  # the first of equal ones is kept
    console.evaluated(75, 3, 0.9, 0.9123)
    console.print("[x] " + "long " * 40)
    assert out.getvalue().splitlines() == [
        "epoch 1/4  step 25/100  test accuracy 91.23%  *",
        "epoch 2/4  step 50/100  test accuracy 91.23%  (best 91.23%)",
        "epoch 3/4  step 75/100  test accuracy 90.00%  (best 91.23%)",
        "[x] " + "long " * 40,
    ]


def test_a_terminal_gets_a_bar(terminal):
    with Console(200, 100, total_epochs=4, file=terminal) as console:
        console.update(110, 2.2, VALUES)
        console.evaluated(110, 2.2, 0.5, 0.6)
        console.update(150, 3.0, VALUES)
    shown = terminal.getvalue()
    assert all(part in shown for part in ("epoch 3/4", "150/200", "loss 1.2346", "test accuracy 50.00%"))
    assert "step 150" not in shown  # no plain lines


def test_quiet_shows_nothing(terminal):
    with Console(10, quiet=True, file=terminal) as console:
        console.update(5, 0.5, VALUES)
        console.evaluated(5, 0.5, 0.1, 0.1)
        console.print("text")
        console.table("t", ("a",), [(1,)])
    assert terminal.getvalue() == ""


def test_tables(terminal):
    columns, rows = ("layer", "bits", "KiB"), [("[stem]", 32, "1.50"), ("conv", 1, "10.25")]
    plain = io.StringIO()
    table("Sizes", columns, rows, ("total", "", "11.75"), file=plain)
    assert plain.getvalue() == (
        "Sizes\n"
        "layer   bits    KiB\n"
        "------  ----  -----\n"
        "[stem]    32   1.50\n"
        "conv       1  10.25\n"
        "------  ----  -----\n"
        "total         11.75\n\n"
    )
    table("Sizes", columns, rows, file=terminal)
    assert all(text in terminal.getvalue() for text in ("Sizes", "[stem]", "10.25", "─"))


def test_a_row_of_other_length_is_refused():
    with pytest.raises(ValueError, match="needs 2 cells"):
        plain_table("", ("a", "b"), [(1,)])


def test_an_empty_table_has_its_headings():
    assert plain_table("", ("a", "b"), []) == "a  b\n-  -"


def test_a_summary_is_drawn_on_a_terminal_and_plain_elsewhere(terminal):
    summary = summarize(vgg_small(10, siman(), siman_activations()), (32, 32, 3))
    Console(0, file=terminal).print(summary)
    assert "─" in terminal.getvalue()
    out = io.StringIO()
    Console(0, file=out).print(summary)
    assert out.getvalue() == f"{summary}\n"


def test_describe_shows_what_is_there():
    assert describe({"accuracy": 1.0, "other": 3}) == "accuracy 100.00%"
    assert describe({}) == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3723, "1:02:03"), (360_000, "100:00:00")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text
    assert duration(float("inf")) == "-:--:--"
