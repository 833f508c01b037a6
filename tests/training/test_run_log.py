"""The run's log: what is written, and what is dropped when a run resumes."""

import importlib.util
import json
import os
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.training.run_log import RunLog, read_log


def steps(workdir):
    return [record["step"] for record in read_log(workdir)]


def write(workdir, *numbers, resume_step=0):
    with RunLog(workdir, resume_step, tensorboard=False) as log:
        for step in numbers:
            log.write("train", step, step / 10, loss=1.0 / step)


def test_a_line_for_each_record(tmp_path):
    with RunLog(tmp_path / "new" / "run", tensorboard=False) as log:
        log.write("train", 5, 0.5, loss=1.25, **{"loss/distillation": 0.5})
        log.write("eval", 10, 1, accuracy=0.75)
        lines = (tmp_path / "new" / "run" / "metrics.jsonl").read_text().splitlines()  # flushed already
    assert lines[0] == '{"step": 5, "epoch": 0.5, "kind": "train", "loss": 1.25, "loss/distillation": 0.5}'
    assert json.loads(lines[1]) == {"step": 10, "epoch": 1.0, "kind": "eval", "accuracy": 0.75}


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        np.float64(1.5),
        np.float32(1.5),
        np.array(1.5),
        jnp.float32(1.5),
        jnp.bfloat16(1.5),
        jnp.array(1.5),
    ],
)
def test_scalars_of_any_kind(tmp_path, value):
    with RunLog(tmp_path, tensorboard=False) as log:
        log.write(
            "train",
            np.int64(1),
            np.float32(1),
            value=value,
            count=np.int32(3),
            flag=jnp.array(True),
            name="a",
        )
    (record,) = read_log(tmp_path)
    assert (record["value"], record["count"], record["flag"], record["name"]) == (1.5, 3, True, "a")


def test_nested_records(tmp_path):
    layers = {"stage1/conv": {"flip_ratio": jnp.float32(0.5)}}
    with RunLog(tmp_path, tensorboard=False) as log:
        log.write("telemetry", 3, 0.3, layers=layers)
    assert read_log(tmp_path)[0]["layers"] == {"stage1/conv": {"flip_ratio": 0.5}}


def test_what_is_not_finite_is_null(tmp_path):
    with RunLog(tmp_path, tensorboard=False) as log:
        log.write("train", 1, 0, loss=float("nan"), norm=np.float32("inf"))
    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line, parse_constant=pytest.fail)["loss"] is None
    assert read_log(tmp_path)[0]["norm"] is None


def test_bad_values_are_refused(tmp_path):
    with RunLog(tmp_path, tensorboard=False) as log:
        with pytest.raises(TypeError, match="scalar"):
            log.write("train", 1, 0, loss=np.ones(2))
        with pytest.raises(TypeError, match="scalar"):
            log.write("train", 1, 0, loss=[1.0])
        with pytest.raises(ValueError, match="'step'"):
            log.write("train", 1, 0, step=2)
    assert read_log(tmp_path) == []


def test_resuming_drops_what_lies_beyond_the_checkpoint(tmp_path):
    write(tmp_path, 2, 4, 6, 8)
    write(tmp_path, 6, 8, 10, resume_step=5)
    assert steps(tmp_path) == [2, 4, 6, 8, 10]


def test_resuming_at_the_last_record_keeps_all(tmp_path):
    write(tmp_path, 2, 4)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    write(tmp_path, resume_step=4)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_starting_anew_drops_everything(tmp_path):
    write(tmp_path, 2, 4)
    write(tmp_path, 2)
    assert steps(tmp_path) == [2]


@pytest.mark.parametrize("rest", [b'{"step": 7, "epo', b'{"step": 7, "name": "caf\xc3', b"{", b'{"step": 7}'])
def test_a_half_written_last_line_is_dropped(tmp_path, rest):
    write(tmp_path, 2, 4)
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(rest)
    assert steps(tmp_path) == [2, 4]
    write(tmp_path, 6, resume_step=4)
    assert steps(tmp_path) == [2, 4, 6]


def test_a_killed_and_resumed_run_holds_each_step_once(tmp_path):
    write(tmp_path / "whole", *range(1, 31))
    for begin, checkpoint in ((0, 10), (10, 20), (20, 30)):
        write(tmp_path / "cut", *range(begin + 1, min(checkpoint + 7, 30) + 1), resume_step=begin)
        with (tmp_path / "cut" / "metrics.jsonl").open("ab") as file:
            file.write(b'{"step"')
    assert read_log(tmp_path / "cut") == read_log(tmp_path / "whole")


def test_truncation_is_atomic(tmp_path, monkeypatch):
    write(tmp_path, 2, 4, 6)
    before = (tmp_path / "metrics.jsonl").read_bytes()

    def killed(descriptor):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            RunLog(tmp_path, 2, tensorboard=False)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    write(tmp_path, resume_step=2)
    assert steps(tmp_path) == [2]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("line", [b"hello\n", b"[1]\n", b'{"loss": 1}\n'])
def test_a_file_that_is_no_log_is_refused_and_left_alone(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'{"step": 3}\n')
    before = path.read_bytes()
    for use in (lambda: read_log(tmp_path), lambda: RunLog(tmp_path, 1, tensorboard=False)):
        with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: expected a JSON record"):
            use()
    assert path.read_bytes() == before


def test_no_log_is_said_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"metrics\.jsonl does not exist"):
        read_log(tmp_path)


@pytest.fixture
def tensorboard(monkeypatch):
    """A stand-in for tensorboardX which keeps what it is given."""
    events = []

    class SummaryWriter:
        def __init__(self, logdir, purge_step):
            events.append(("open", os.path.basename(logdir), purge_step))

        def add_scalar(self, tag, value, step):
            events.append((tag, value, step))

        def close(self):
            events.append("close")

    stand_in = types.ModuleType("tensorboardX")
    stand_in.SummaryWriter = SummaryWriter
    stand_in.__spec__ = importlib.util.spec_from_loader("tensorboardX", None)
    monkeypatch.setitem(sys.modules, "tensorboardX", stand_in)
    return events


@pytest.mark.parametrize("asked", [None, True])
def test_tensorboard_gets_the_same_numbers(tmp_path, tensorboard, asked):
    with RunLog(tmp_path, 4, tensorboard=asked) as log:
        log.write("train", 5, 0.5, loss=2.0, broken=float("nan"), note="text")
        log.write("telemetry", 6, 0.6, layers={"a/conv": {"flip_ratio": 0.25}})
    log.close()
    assert tensorboard == [
        ("open", "tensorboard", 5),
        ("train/loss", 2.0, 5),
        ("telemetry/layers/a/conv/flip_ratio", 0.25, 6),
        "close",
    ]


def test_tensorboard_can_be_declined(tmp_path, tensorboard):
    write(tmp_path, 1)
    assert tensorboard == []


def test_tensorboard_asked_for_and_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install tensorboardX"):
        RunLog(tmp_path, tensorboard=True)
    RunLog(tmp_path).close()
