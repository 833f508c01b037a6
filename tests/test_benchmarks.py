"""Benchmarks of steps: who comes when, what a step without a term still needs, and what is refused before the work."""

import pytest

from benchmarks import binarizers, steps, terms
from bnn_jax.config import LossConfig, TeacherConfig, component
from bnn_jax.regularizers import distillation_term, kurtosis_term, lipschitz_term, mimicking_term
from tests.training import toy


class Recorder:
    """A side that takes as long as it is told, and notes when it came."""

    def __init__(self, name, came, seconds):
        self.name, self.came, self.left = name, came, iter(seconds)

    def seconds(self, count):
        self.came.append(self.name)
        return count * next(self.left)


def test_sides_change_places_and_the_round_that_compiles_is_not_counted():
    came = []
    sides = {"a": Recorder("a", came, [90, 1, 2, 3]), "b": Recorder("b", came, [70, 4, 5, 6])}
    times = steps.take_turns(sides, rounds=3, steps=2)
    assert came == ["b", "a", "a", "b", "b", "a", "a", "b"]
    assert times == {"a": [1, 2, 3], "b": [4, 5, 6]}
    assert steps.summary(times, "ratio", [4, 2.5, 2]) == {
        "a s": 2,
        "b s": 5,
        "ratio": 2.5,
        "lower quartile": 2,
        "upper quartile": 4,
    }


@pytest.mark.parametrize(("program", "own"), [(binarizers, "--against=irnet"), (terms, "--term=kurtosis")])
@pytest.mark.parametrize(("option", "least"), [("--rounds=1", 2), ("--rounds=0", 2), ("--steps=0", 1)])
def test_too_few_rounds_are_refused_before_anything_is_loaded(program, own, option, least, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["it", "--config=none.py", own, option])
    with pytest.raises(SystemExit):
        program.main()
    assert f"expected {least} or more" in capsys.readouterr().err


ADDED = {
    "retention": component(lipschitz_term, features=("conv", "conv"), kind="ratio"),
    "kl": component(distillation_term, kind="kl"),
    "same": component(distillation_term),
    "mimicking": component(mimicking_term, where="kernel", skip=""),
    "kurtosis": component(kurtosis_term, skip=""),
}


def experiment(*added):
    made = toy.config(teacher=TeacherConfig("teacher", model=component(toy.network)))
    made.losses += [LossConfig(name, ADDED[name]) for name in added]
    return made


def test_what_each_term_needs_of_the_teacher_is_found():
    needed = {"cross_entropy": set(), "retention": {"conv"}, "mimicking": set(), "kurtosis": set()}
    assert terms.watched(experiment(*ADDED)) == {**needed, "kl": {"logits"}, "same": {"logits"}}


@pytest.mark.parametrize(
    ("added", "term", "read"),
    [
        (("retention", "kl"), "retention", {"conv"}),
        (("kl",), "kl", {"logits"}),
        (("kl", "same"), "kl", None),
        (("mimicking",), "mimicking", None),
    ],
)
def test_the_step_without_a_term_needs_of_the_teacher_what_the_term_alone_does(added, term, read):
    config = experiment(*added)
    bare = terms.without(config, term)
    assert [loss.name for loss in config.losses] == ["cross_entropy", *added]
    needs = terms.watched(bare)
    assert needs.pop(term, None) == read
    assert set(needs) == {"cross_entropy", *added} - {term}


def test_without_a_teacher_nothing_is_read_and_an_unknown_term_is_refused():
    config = toy.config()
    assert terms.watched(config) == {"cross_entropy": set()}
    with pytest.raises(ValueError, match=r"there is no term 'lipschitz': the config has \['cross_entropy'\]"):
        terms.without(config, "lipschitz")
