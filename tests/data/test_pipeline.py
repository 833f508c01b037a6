import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn_jax.data import array_source, eval_batches, steps_per_epoch, train_iterator


def _source(n, classes=10):
    """Images whose only pixel tells their index, two bytes of it."""
    indices = np.arange(n)
    images = np.stack([indices % 256, indices // 256], -1).astype(np.uint8).reshape(n, 1, 1, 2)
    return array_source(images, indices % classes, classes)


def _indices(batch):
    return batch["image"].reshape(-1, 2).astype(int) @ [1, 256]


def _take(iterator, steps):
    return [_indices(next(iterator)).tolist() for _ in range(steps)]


class Plain:
    """A source that only knows single items, with labels of another integer type."""

    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        item = self.source[index]
        return {"image": item["image"], "label": int(item["label"]), "other": object()}


sizes = st.tuples(st.integers(1, 40), st.integers(1, 40)).map(lambda pair: (max(pair), min(pair)))


@settings(deadline=None, max_examples=40)
@given(size=sizes, seed=st.integers(0, 2**40))
def test_an_epoch_has_no_repetition_and_drops_only_the_rest(size, seed):
    n, batch_size = size
    steps = n // batch_size
    assert steps_per_epoch(_source(n), batch_size) == steps
    iterator = train_iterator(_source(n), batch_size=batch_size, seed=seed, threads=0)
    for _ in range(3):
        epoch = np.concatenate(_take(iterator, steps))
        assert len(set(epoch.tolist())) == len(epoch) == steps * batch_size


def test_epochs_and_seeds_differ():
    first = train_iterator(_source(50), batch_size=50, seed=0)
    second = train_iterator(_source(50), batch_size=50, seed=1)
    assert len({tuple(order) for order in [*map(tuple, _take(first, 5)), *map(tuple, _take(second, 5))]}) == 10


def test_the_dropped_examples_change():
    iterator = train_iterator(_source(10), batch_size=8, seed=0)
    seen = {index for batch in _take(iterator, 20) for index in batch}
    assert seen == set(range(10))


def test_batch_form_and_labels_belong_to_images():
    batch = next(train_iterator(_source(300), batch_size=64, seed=5))
    assert set(batch) == {"image", "label"}
    assert batch["image"].shape == (64, 1, 1, 2)
    assert batch["image"].dtype == np.uint8
    assert batch["label"].shape == (64,)
    assert batch["label"].dtype == np.int32
    np.testing.assert_array_equal(batch["label"], _indices(batch) % 10)


@settings(deadline=None, max_examples=25)
@given(share=st.integers(1, 5), count=st.integers(1, 4), extra=st.integers(0, 9), seed=st.integers(0, 99))
def test_processes_share_the_single_process_batch(share, count, extra, seed):
    source, batch_size = _source(share * count + extra), share * count
    alone = train_iterator(source, batch_size=batch_size, seed=seed, threads=0)
    together = [
        train_iterator(source, batch_size=batch_size, seed=seed, process_index=i, process_count=count, threads=0)
        for i in range(count)
    ]
    for _ in range(5):
        parts = [_indices(next(iterator)) for iterator in together]
        np.testing.assert_array_equal(np.concatenate(parts), _indices(next(alone)))


@settings(deadline=None, max_examples=25)
@given(size=sizes, before=st.integers(0, 12), threads=st.sampled_from([0, 1, 3]))
def test_resume_is_exact_at_any_step(size, before, threads):
    n, batch_size = size
    iterator = train_iterator(_source(n), batch_size=batch_size, seed=1, threads=threads)
    _take(iterator, before)
    state = json.loads(json.dumps(iterator.get_state()))
    assert state == {"next_index": before}
    expected = _take(iterator, 8)
    fresh = train_iterator(_source(n), batch_size=batch_size, seed=1, threads=threads)
    fresh.set_state(state)
    assert _take(fresh, 8) == expected
    iterator.set_state(state)
    assert _take(iterator, 8) == expected


def test_resume_with_another_number_of_processes():
    iterator = train_iterator(_source(40), batch_size=8, seed=1)
    _take(iterator, 7)
    state = iterator.get_state()
    parts = [train_iterator(_source(40), batch_size=8, seed=1, process_index=i, process_count=2) for i in range(2)]
    for part in parts:
        part.set_state(state)
    assert _take(parts[0], 1)[0] + _take(parts[1], 1)[0] == _take(iterator, 1)[0]


def test_orbax_saves_and_restores_the_iterator(tmp_path):
    from orbax.checkpoint import v1 as ocp

    iterator = train_iterator(_source(20), batch_size=6, seed=0)
    _take(iterator, 5)
    with ocp.training.Checkpointer(tmp_path) as checkpointer:
        checkpointer.save_checkpointables(5, {"data": iterator})
        expected = _take(iterator, 4)
        fresh = train_iterator(_source(20), batch_size=6, seed=0)
        checkpointer.load_checkpointables(5, {"data": fresh})
    assert _take(fresh, 4) == expected


def test_threads_do_not_change_the_batches():
    batches = [
        _take(train_iterator(_source(30), batch_size=4, seed=0, threads=threads, prefetch=7), 40)
        for threads in (0, 1, 4)
    ]
    assert batches[0] == batches[1] == batches[2]


def test_a_source_without_gather_gives_the_same_batches():
    for make in (
        lambda source: train_iterator(source, batch_size=5, seed=2),
        lambda source: eval_batches(source, batch_size=5),
    ):
        fast, slow = make(_source(13)), make(Plain(_source(13)))
        for _ in range(3):
            expected, found = next(fast), next(slow)
            assert set(found) == set(expected)
            for key in expected:
                np.testing.assert_array_equal(found[key], expected[key])
                assert found[key].dtype == expected[key].dtype


def test_an_error_in_the_source_reaches_the_caller():
    class Broken(Plain):
        def __getitem__(self, index):
            if index == 3:
                raise OSError("disk gone")
            return super().__getitem__(index)

    iterator = train_iterator(Broken(_source(4)), batch_size=4, seed=0, threads=1)
    with pytest.raises(OSError, match="disk gone"):
        next(iterator)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 40), share=st.integers(1, 6), count=st.integers(1, 4))
def test_evaluation_counts_every_example_once(n, share, count):
    parts = [
        list(eval_batches(_source(n), batch_size=share * count, process_index=i, process_count=count, threads=0))
        for i in range(count)
    ]
    assert {len(part) for part in parts} == {-(-n // (share * count))}
    batches = [batch for step in zip(*parts, strict=True) for batch in step]
    assert {batch["image"].shape for batch in batches} == {(share, 1, 1, 2)}
    assert all(batch["mask"].dtype == bool and batch["mask"].shape == (share,) for batch in batches)
    counted = np.concatenate([_indices(batch)[batch["mask"]] for batch in batches])
    np.testing.assert_array_equal(counted, np.arange(n))


def test_padding_repeats_a_real_example():
    batch = next(eval_batches(_source(3), batch_size=5))
    assert _indices(batch).tolist() == [0, 1, 2, 2, 2]
    assert batch["mask"].tolist() == [True, True, True, False, False]


@pytest.mark.parametrize("make", [lambda s, **k: train_iterator(s, seed=0, **k), eval_batches])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"batch_size.*positive multiple of process_count 1, found 0. Use 1\."),
        (
            {"batch_size": 7, "process_count": 2},
            r"batch_size, which counts all processes.*process_count 2, found 7. Use 8\.",
        ),
        (
            {"batch_size": 4, "process_index": 2, "process_count": 2},
            r"process_index < process_count, found 2",
        ),
        ({"batch_size": 4, "process_count": 0}, r"process_index < process_count, found 0 and 0"),
    ],
)
def test_wrong_options_are_refused_at_once(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(_source(10), **options)


def test_wrong_sources_and_seeds_are_refused_at_once():
    with pytest.raises(ValueError, match=r"batch_size of at most the 10 examples of the source, found 11"):
        train_iterator(_source(10), batch_size=11, seed=0)
    with pytest.raises(ValueError, match=r"expected a seed of 0 or more, found -1"):
        train_iterator(_source(10), batch_size=2, seed=-1)
    with pytest.raises(ValueError, match=r"source with examples, found an empty one"):
        eval_batches([], batch_size=1)
    with pytest.raises(ValueError, match=r"keys 'image' and 'label', found \['x', 'y'\]"):
        eval_batches([{"x": 0, "y": 0}], batch_size=1)
