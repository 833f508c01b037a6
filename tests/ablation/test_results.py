"""What is measured of a run: once, stored beside it."""

import json

import pytest

from bnn_jax.ablation import measures, results
from bnn_jax.training.run_log import RunLog


@pytest.fixture
def folder(tmp_path):
    """A run which was evaluated twice."""
    with RunLog(tmp_path, tensorboard=False) as log:
        log.write("eval", 10, 1, accuracy=0.75)
        log.write("eval", 20, 2, accuracy=0.5)
        log.write("train", 20, 2, accuracy=0.875)
    return tmp_path


def counted(name, numbers):
    """A measure of that name, which counts how often it is taken."""

    def measure(workdir):
        measure.times += 1
        return numbers

    measure.__name__, measure.times = name, 0
    return measure


def test_accuracy_is_that_of_the_last_checkpoint_not_the_best(folder):
    results.take(folder, ())
    assert results.stored(folder, ()) == {"accuracy": 0.5}


def test_each_measure_is_taken_once_and_a_new_one_added_later(folder):
    first, second = counted("first", {"a": 1}), counted("second", {"b": 2.5})
    assert results.stored(folder, (first,)) is None
    results.take(folder, (first,))
    assert results.stored(folder, (first,)) == {"accuracy": 0.5, "a": 1.0}
    assert results.stored(folder, (first, second)) is None
    results.take(folder, (first, second))
    assert list(results.stored(folder, (second, first)).items()) == [("accuracy", 0.5), ("b", 2.5), ("a", 1.0)]
    assert (first.times, second.times) == (1, 1)


def test_what_was_measured_before_a_failure_is_kept(folder):
    good, bad = counted("good", {"a": 1}), counted("bad", 5)
    with pytest.raises(ValueError, match="measure 'bad' must give numbers by name"):
        results.take(folder, (good, bad))
    assert set(json.loads((folder / results.FILE).read_text())) == {"accuracy", "good"}
    assert results.stored(folder, (good, bad)) is None


def test_two_measures_with_a_number_of_one_name_are_refused(folder):
    both = counted("first", {"a": 1}), counted("second", {"a": 2})
    results.take(folder, both)
    with pytest.raises(ValueError, match=r"measure 'second' gives \['a'\], as another one does"):
        results.stored(folder, both)


def test_a_run_that_was_never_evaluated_and_a_damaged_file_are_refused(tmp_path):
    RunLog(tmp_path, tensorboard=False).close()
    with pytest.raises(ValueError, match="holds no test accuracy of its last step, 0: expected a finished run"):
        measures.accuracy(tmp_path)
    with RunLog(tmp_path, tensorboard=False) as log:
        log.write("eval", 10, 1, accuracy=0.75)
        log.write("train", 20, 2, accuracy=0.875)
    with pytest.raises(ValueError, match="holds no test accuracy of its last step, 20"):
        measures.accuracy(tmp_path)
    (tmp_path / results.FILE).write_text("{")
    with pytest.raises(ValueError, match=r"measures\.json is damaged .*: remove it"):
        results.stored(tmp_path, ())
