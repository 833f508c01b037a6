"""Checkpoints: the latest and the best, exact, and safe against a killed writer."""

import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.training.checkpoint import Bookkeeping, Checkpoints
from bnn_jax.training.state import TrainState
from tests.training.toy import assert_identical

BOOKS = Bookkeeping(
    sums={"loss": 0.1 + 0.2, "loss/cross_entropy": 1e-300},
    count=3,
    best_accuracy=1 / 3,
    best_epoch=2,
    iterator={"next_index": 17},
    telemetry={"step": 5, "codes": {"conv": "AAEC"}},
)


def state(step=0, width=3):
    """Every dtype that a state may hold, with values that text or a cast would not survive."""
    rng = np.random.default_rng(step)
    awkward = np.array([1e-45, -0.0, 3.4028235e38, 0.1], np.float32)
    return TrainState(
        step=jnp.asarray(step, jnp.int32),
        params={
            "conv": {"kernel": jnp.asarray(rng.normal(size=(3, 3, 2, width)), jnp.float32), "scale": awkward},
            "dense": {"kernel": jnp.asarray(rng.normal(size=(4, 2)), jnp.bfloat16)},
        },
        batch_stats={"norm": {"mean": jnp.asarray(rng.normal(size=3), jnp.float32)}},
        memory={"conv": {"binarizer": {"code": jnp.asarray(rng.choice([-1, 1], (3, 3, 2, width)), jnp.int8)}}},
        opt_state=({"trace": jnp.full((2,), np.nan)}, jnp.asarray(2**31 - 1, jnp.int32), ()),
        healthy=jnp.asarray(True),
    )


@pytest.fixture
def checkpoints(tmp_path):
    opened = Checkpoints(tmp_path)
    yield opened
    opened.close()


def steps_on_disk(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())


class TestRoundTrip:
    def test_every_leaf_and_the_books_return_bit_for_bit(self, checkpoints, tmp_path):
        checkpoints.save(state(7), BOOKS, 0.5)
        found, books = Checkpoints(tmp_path, read_only=True).restore(jax.eval_shape(lambda: state(0)))
        assert_identical(found, state(7))
        assert books == BOOKS

    def test_what_is_restored_lies_on_the_host(self, checkpoints):
        checkpoints.save(state(7), BOOKS)
        found, _ = checkpoints.restore(state())
        assert {type(leaf) for leaf in jax.tree.leaves(found)} <= {
            np.ndarray,
            np.generic,
            np.float32,
            np.int32,
            np.bool_,
        }

    def test_an_empty_memory_and_empty_books_survive(self, checkpoints):
        bare = state(1).replace(memory={}, batch_stats={}, opt_state=())
        checkpoints.save(bare, Bookkeeping())
        found, books = checkpoints.restore(bare)
        assert_identical(found, bare)
        assert books == Bookkeeping()

    def test_a_state_before_the_first_step_can_be_saved(self, checkpoints):
        checkpoints.save(state(0), Bookkeeping())
        assert checkpoints.latest_step == 0
        assert_identical(checkpoints.restore(state(3))[0], state(0))


class TestRetention:
    def test_an_empty_workdir_has_neither_latest_nor_best(self, checkpoints):
        assert checkpoints.latest_step is None
        assert checkpoints.best_step is None
        with pytest.raises(ValueError, match="holds no checkpoint yet"):
            checkpoints.step_of("last")

    def test_steps_are_told_by_name(self, checkpoints):
        checkpoints.save(state(1), Bookkeeping())
        assert checkpoints.step_of("best") == 1
        checkpoints.save(state(2), Bookkeeping(), 0.5)
        checkpoints.save(state(3), Bookkeeping(), 0.4)
        assert (checkpoints.step_of("best"), checkpoints.step_of("last")) == (2, 3)
        with pytest.raises(ValueError, match=r"expected one of \('best', 'last'\), found 'latest'"):
            checkpoints.step_of("latest")

    def test_the_latest_and_the_best_are_kept_and_nothing_else(self, checkpoints, tmp_path):
        for step, accuracy in [(1, 0.1), (2, 0.6), (3, 0.4), (4, None), (5, 0.2)]:
            checkpoints.save(state(step), BOOKS, accuracy)
        assert steps_on_disk(tmp_path) == [2, 5]
        assert (checkpoints.best_step, checkpoints.latest_step) == (2, 5)
        assert_identical(checkpoints.restore(state(), 2)[0], state(2))
        assert_identical(checkpoints.restore(state())[0], state(5))

    def test_among_equals_the_first_is_the_best(self, checkpoints, tmp_path):
        for step, accuracy in [(1, 0.1), (2, 0.6), (3, 0.6), (4, 0.6), (5, 0.5)]:
            checkpoints.save(state(step), BOOKS, accuracy)
        assert steps_on_disk(tmp_path) == [2, 5]
        assert checkpoints.best_step == 2

    def test_best_and_latest_are_known_to_a_later_process(self, checkpoints, tmp_path):
        for step, accuracy in [(1, 0.6), (2, 0.6), (3, None)]:
            checkpoints.save(state(step), BOOKS, accuracy)
        checkpoints.close()
        later = Checkpoints(tmp_path)
        assert (later.best_step, later.latest_step) == (1, 3)
        later.save(state(4), BOOKS, 0.7)
        later.close()
        assert steps_on_disk(tmp_path) == [4]

    def test_checkpoints_without_a_measured_accuracy_are_never_the_best(self, checkpoints):
        checkpoints.save(state(1), BOOKS)
        assert (checkpoints.best_step, checkpoints.latest_step) == (None, 1)
        checkpoints.save(state(2), BOOKS, 0.0)
        assert checkpoints.best_step == 2

    def test_a_step_that_is_saved_already_is_left_as_it_is(self, checkpoints):
        checkpoints.save(state(1), BOOKS, 0.5)
        checkpoints.save(state(1).replace(params={}), Bookkeeping())
        found, books = checkpoints.restore(state())
        assert_identical(found, state(1))
        assert books == BOOKS
        assert checkpoints.best_step == 1


class TestMeasuredLater:
    def test_it_is_ranked_from_then_on_and_not_replaced_again(self, checkpoints, tmp_path):
        checkpoints.save(state(1), BOOKS)
        checkpoints.save(state(1), BOOKS, 0.5)
        assert checkpoints.best_step == 1
        checkpoints.save(state(1), Bookkeeping(), 0.5)
        assert checkpoints.restore(state())[1] == BOOKS
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]

    @pytest.mark.parametrize("links", [True, False])
    def test_a_process_that_is_killed_meanwhile_leaves_what_was_there(self, tmp_path, monkeypatch, links):
        if not links:
            monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
        killed = Checkpoints(tmp_path)
        killed.save(state(1), BOOKS)

        def delete_and_die(step, *_, **__):
            shutil.rmtree(tmp_path / "checkpoints" / str(step))
            raise KeyboardInterrupt

        monkeypatch.setattr(killed._checkpointer, "save_checkpointables", delete_and_die)
        with pytest.raises(KeyboardInterrupt):
            killed.save(state(1), BOOKS, 0.5)
        assert steps_on_disk(tmp_path) == []
        later = Checkpoints(tmp_path)
        found, books = later.restore(state())
        assert_identical(found, state(1))
        assert (books, later.latest_step, later.best_step) == (BOOKS, 1, None)
        later.save(state(1), BOOKS, 0.5)
        later.close()
        assert later.best_step == 1
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]

    def test_what_a_process_killed_after_it_left_is_removed(self, tmp_path):
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(state(1), BOOKS, 0.5)
        checkpoints.close()
        shutil.copytree(tmp_path / "checkpoints" / "1", tmp_path / "checkpoints_replaced" / "1")
        later = Checkpoints(tmp_path)
        assert later.best_step == 1
        later.close()
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]


class TestMisfits:
    def check(self, checkpoints, like):
        checkpoints.save(state(7), BOOKS)
        with pytest.raises(ValueError, match=r"checkpoint 7 in .*checkpoints does not fit this network") as caught:
            checkpoints.restore(like)
        return str(caught.value)

    def test_another_shape_is_refused_naming_the_first_leaf(self, checkpoints):
        message = self.check(checkpoints, state(width=4))
        assert "['conv']['kernel'] has shape (3, 3, 2, 3) there, (3, 3, 2, 4) here" in message

    def test_a_layer_too_many_is_refused(self, checkpoints):
        other = state()
        other.params["more"] = {"kernel": jnp.zeros((2, 2))}
        self.check(checkpoints, other)

    def test_a_layer_too_few_is_refused(self, checkpoints):
        other = state()
        del other.params["dense"]
        self.check(checkpoints, other)


class TestHalfWritten:
    def test_what_a_killed_writer_left_is_ignored_by_readers_and_removed_by_the_next_writer(
        self, checkpoints, tmp_path
    ):
        checkpoints.save(state(7), BOOKS, 0.5)
        checkpoints.close()
        folder = tmp_path / "checkpoints"
        # Whole but for the last thing that is written; and an empty one.
        stray = folder / "9.orbax-checkpoint-tmp"
        shutil.copytree(folder / "7", stray, ignore=lambda *_: ["commit_success.txt"])
        (folder / "11.orbax-checkpoint-tmp").mkdir()
        reader = Checkpoints(tmp_path, read_only=True)
        assert (reader.latest_step, reader.best_step) == (7, 7)
        reader.close()
        assert stray.exists()
        writer = Checkpoints(tmp_path)
        assert (writer.latest_step, writer.best_step) == (7, 7)
        writer.save(state(9), BOOKS, 0.6)
        writer.close()
        assert [path.name for path in folder.iterdir()] == ["9"]
        assert_identical(Checkpoints(tmp_path, read_only=True).restore(state())[0], state(9))
