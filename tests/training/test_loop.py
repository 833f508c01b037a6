"""The training loop: what it logs, evaluates and saves, and that a run in pieces is a run in one."""

import json
import os
import re
import shutil
import signal

import jax
import numpy as np
import pytest

from bnn_jax.data import train_iterator
from bnn_jax.training import loop as module
from bnn_jax.training import parallel
from bnn_jax.training.accuracy import measure
from bnn_jax.training.assembly import assemble
from bnn_jax.training.checkpoint import Checkpoints
from bnn_jax.training.diagnosis import NonFiniteError
from bnn_jax.training.loop import Loop
from bnn_jax.training.reporter import Reporter
from bnn_jax.training.signals import StopRequest
from tests.training import toy

STEPS = 10  # of each epoch


def config(**changes):
    """Two epochs."""
    return toy.config(**{"epochs": 2, **changes})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder of a run that never stopped, and its outcome."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, toy.run(config(), folder)


@pytest.fixture
def ambush(monkeypatch):
    """Makes the data source send this process a signal when a certain batch is read."""

    def lie_in_wait(number, batch):
        monkeypatch.setattr(toy.Ambush, "read", 0)
        monkeypatch.setenv("BNN_TOY_AMBUSH", f"{signal.Signals(number).name}@{batch}")

    yield lie_in_wait
    monkeypatch.delenv("BNN_TOY_AMBUSH", raising=False)


def by_hand():
    """Steps without a loop: losses and accuracies, and the results and states at the end of each epoch."""
    experiment = assemble(config())
    batches = train_iterator(experiment.splits.train, batch_size=16, seed=0)
    state, metrics, results = parallel.replicate(experiment.init_state()), [], []
    for step in range(1, 2 * STEPS + 1):
        state, reported = experiment.train_step(state, parallel.split(next(batches)))
        metrics.append((float(reported.loss), float(reported.accuracy)))
        if step % STEPS == 0:
            results.append((measure(experiment, state.variables), jax.device_get(state)))
    return np.asarray(metrics), results


class TestRun:
    @pytest.fixture(scope="class", name="expected")
    @staticmethod
    def fixture_expected():
        return by_hand()

    def test_it_ends_in_the_state_that_the_steps_alone_give(self, whole, expected):
        folder, outcome = whole
        assert (outcome.step, outcome.total_steps, outcome.signal) == (2 * STEPS, 2 * STEPS, 0)
        toy.assert_identical(toy.stored(folder, config())[0], expected[1][-1][1])

    def test_train_records_are_means_over_the_steps_since_the_last_one(self, whole, expected):
        found = toy.records(whole[0], "train")
        assert [r["step"] for r in found] == [4, 8, 10, 12, 16, 20]
        first = 0
        for record in found:
            loss, accuracy = expected[0][first : record["step"]].mean(0)
            np.testing.assert_allclose(record["loss"], loss, rtol=1e-12)
            np.testing.assert_allclose(record["loss/cross_entropy"], loss, rtol=1e-6)
            np.testing.assert_allclose(record["accuracy"], accuracy, rtol=1e-12)
            assert record["epoch"] == record["step"] / STEPS
            assert record["learning_rate"] == pytest.approx(0.1 if record["step"] <= STEPS else 0.05, rel=1e-6)
            first = record["step"]

    def test_eval_records_hold_the_result_on_the_test_set_after_each_epoch(self, whole, expected):
        found = toy.records(whole[0], "eval")
        assert [r["step"] for r in found] == [STEPS, 2 * STEPS]
        for record, (result, _) in zip(found, expected[1], strict=True):
            assert record["accuracy"] == result.top1
            assert record["accuracy_top5"] == result.top5
            assert record["loss"] == result.loss
        best = max(result.top1 for result, _ in expected[1])
        assert found[-1]["best_accuracy"] == best == whole[1].best_accuracy
        assert found[whole[1].best_epoch - 1]["accuracy"] == best

    def test_telemetry_is_logged_for_the_binary_layer_at_its_interval(self, whole):
        found = toy.records(whole[0], "telemetry")
        assert [r["step"] for r in found] == [7, 14]
        for record in found:
            assert record["layers"].keys() == {"conv"}
            assert all(0 <= layer["flip_ratio"] <= 1 for layer in record["layers"].values())

    def test_telemetry_is_logged_at_least_once_an_epoch(self, tmp_path):
        made = config(epochs=2)
        made.run.telemetry_every = 1000
        Loop(assemble(made), tmp_path, toy.Console(20, quiet=True)).run()
        assert [r["step"] for r in toy.records(tmp_path, "telemetry")] == [STEPS, 2 * STEPS]

    def test_evaluation_and_checkpoints_follow_their_intervals_and_the_end_has_both(self, tmp_path):
        made = config(epochs=3)
        made.run.eval_every, made.run.checkpoint_every, made.run.telemetry_every = 2, 5, 0
        saved, save = [], Checkpoints.save

        class Watched(Loop):
            def _save(self, accuracy):
                saved.append(self.step)
                super()._save(accuracy)

        experiment = assemble(made)
        Watched(experiment, tmp_path, toy.Console(30, quiet=True)).run()
        assert save is Checkpoints.save
        assert [r["step"] for r in toy.records(tmp_path, "eval")] == [2 * STEPS, 3 * STEPS]
        assert saved == [2 * STEPS, 3 * STEPS]
        assert toy.records(tmp_path, "telemetry") == []

    def test_a_finished_run_called_again_does_no_step_and_leaves_all_as_it_was(self, whole, tmp_path):
        shutil.copytree(whole[0], tmp_path / "copy")
        outcome = toy.run(config(), tmp_path / "copy")
        assert outcome == whole[1]
        toy.assert_same_run(tmp_path / "copy", whole[0], config())


class TestStopAndContinue:
    @pytest.mark.parametrize(("number", "batch"), [(signal.SIGTERM, 8), (signal.SIGINT, 17)])
    def test_a_run_stopped_between_two_steps_ends_as_one_never_stopped(
        self, whole, tmp_path, ambush, monkeypatch, number, batch
    ):
        ambush(number, batch)
        outcome = toy.run(config(), tmp_path)
        assert outcome.signal == number
        # Batches are read ahead: the signal comes a few steps before its batch is due.
        assert 0 < outcome.step <= batch
        assert outcome.step % STEPS != 0
        state, books = toy.stored(tmp_path, config())
        assert state.step == outcome.step == books.iterator["next_index"]
        monkeypatch.delenv("BNN_TOY_AMBUSH")
        assert toy.run(config(), tmp_path) == whole[1]
        toy.assert_same_run(tmp_path, whole[0], config())

    def test_a_run_stopped_after_each_of_many_steps_ends_as_one_never_stopped(self, whole, tmp_path, monkeypatch):
        with monkeypatch.context() as patched:
            patched.setattr(StopRequest, "requested", lambda self, step: True)
            for step in range(1, STEPS + 2):
                assert toy.run(config(), tmp_path).step == step
        assert toy.run(config(), tmp_path) == whole[1]
        toy.assert_same_run(tmp_path, whole[0], config())

    def test_a_stop_at_the_end_of_an_epoch_that_is_not_to_be_saved_is_saved(self, tmp_path, monkeypatch):
        made = config()
        made.run.eval_every = made.run.checkpoint_every = 2
        monkeypatch.setattr(StopRequest, "requested", lambda self, step: step == STEPS)
        assert toy.run(made, tmp_path).step == STEPS
        assert Checkpoints(tmp_path, read_only=True).latest_step == STEPS

    @pytest.mark.parametrize("epoch", [1, 2])
    def test_a_signal_cuts_an_evaluation_short_which_is_made_up_for(self, whole, tmp_path, monkeypatch, epoch):
        calls = iter((1, 2))

        def measured(*args, **kwargs):
            if next(calls) == epoch:
                os.kill(os.getpid(), signal.SIGTERM)
            return measure(*args, **kwargs)

        with monkeypatch.context() as patched:
            patched.setattr(module, "measure", measured)
            outcome = toy.run(config(), tmp_path)
        assert (outcome.step, outcome.signal, outcome.finished) == (epoch * STEPS, signal.SIGTERM, False)
        assert Checkpoints(tmp_path, read_only=True).latest_step == epoch * STEPS
        assert [record["step"] for record in toy.records(tmp_path, "eval")] == [STEPS * e for e in range(1, epoch)]
        stop = StopRequest()
        stop.signal = signal.SIGTERM  # asked again, before it is made up for
        assert not toy.run(config(), tmp_path, stop).finished
        assert toy.run(config(), tmp_path) == whole[1]
        toy.assert_same_run(tmp_path, whole[0], config())

    @pytest.mark.parametrize("step", [STEPS, 2 * STEPS])
    def test_an_evaluation_whose_record_a_crash_prevented_is_made_again(self, whole, tmp_path, monkeypatch, step):
        write = Reporter.write

        def dies(self, kind, at, values):
            if (kind, at) == ("eval", step):
                self.close()
                raise KeyboardInterrupt
            write(self, kind, at, values)

        with monkeypatch.context() as patched:
            patched.setattr(Reporter, "write", dies)
            with pytest.raises(KeyboardInterrupt):
                toy.run(config(), tmp_path)
        assert toy.run(config(), tmp_path) == whole[1]
        toy.assert_same_run(tmp_path, whole[0], config())

    def test_a_signal_at_the_last_step_of_an_epoch_leaves_its_evaluation_for_later(self, whole, tmp_path, monkeypatch):
        with monkeypatch.context() as patched:
            patched.setattr(StopRequest, "requested", lambda self, step: step == 2 * STEPS)
            outcome = toy.run(config(), tmp_path)
        assert (outcome.step, outcome.finished) == (outcome.total_steps, False)
        assert toy.run(config(), tmp_path) == whole[1]
        toy.assert_same_run(tmp_path, whole[0], config())

    def test_a_signal_that_comes_just_after_it_was_asked_for_stops_after_the_next_step(self, tmp_path, monkeypatch):
        asked = StopRequest.requested

        def late(self, step):
            answer = asked(self, step)
            if step == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return answer

        monkeypatch.setattr(StopRequest, "requested", late)
        outcome = toy.run(config(), tmp_path)
        assert (outcome.step, outcome.signal) == (4, signal.SIGTERM)
        assert Checkpoints(tmp_path, read_only=True).latest_step == 4
        assert [r["step"] for r in toy.records(tmp_path)] == [4]

    def test_lines_that_a_killed_run_wrote_beyond_its_checkpoint_are_written_again_once(
        self, whole, tmp_path, monkeypatch
    ):
        with monkeypatch.context() as patched:
            patched.setattr(StopRequest, "requested", lambda self, step: step == STEPS)
            toy.run(config(), tmp_path)
        with (tmp_path / "metrics.jsonl").open("a") as log:
            log.write('{"step": 12, "epoch": 1.2, "kind": "train", "loss": 1.0}\n{"step": 16, "ki')
        toy.run(config(), tmp_path)
        toy.assert_same_run(tmp_path, whole[0], config())


class TestNonFinite:
    @pytest.fixture(scope="class", name="failed")
    @staticmethod
    def fixture_failed(tmp_path_factory):
        folder = tmp_path_factory.mktemp("failed")
        made = config()
        made.optimizer.learning_rate = 1e30
        with pytest.raises(NonFiniteError) as caught:
            toy.run(made, folder)
        return folder, made, str(caught.value)

    def test_the_run_stops_naming_step_and_layer_and_what_to_do(self, failed):
        _, _, message = failed
        assert re.match(r"step 2 \(epoch 1\) is not finite: the output of layer (norm|conv|dense) is", message)
        assert "The state after step 1 is saved" in message
        assert "lower optimizer.learning_rate" in message

    def test_the_last_good_state_is_saved_finite_and_marked_unhealthy_in_nothing(self, failed):
        folder, made, _ = failed
        state, books = toy.stored(folder, made)
        assert state.step == 1 == books.iterator["next_index"]
        assert books.count == 1
        for path, leaf in jax.tree_util.tree_leaves_with_path(state):
            assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)

    def test_the_same_command_tries_the_same_step_again(self, failed):
        folder, made, message = failed
        with pytest.raises(NonFiniteError) as caught:
            toy.run(made, folder)
        assert str(caught.value) == message

    def test_the_log_is_valid_json_to_its_end(self, failed):
        for line in (failed[0] / "metrics.jsonl").read_text().splitlines():
            json.loads(line)
