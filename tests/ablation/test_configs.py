"""The ablations that this repository has, on one budget."""

from pathlib import Path

import pytest

from bnn_jax.ablation import Ablation
from bnn_jax.ablation.plan import plan
from bnn_jax.config import check, flatten, to_dict
from bnn_jax.config.file import load
from configs.ablations._budget import budget
from configs.cifar10 import lcr_resnet20
from tests.conftest import ROOT

FOLDER = ROOT / "configs" / "ablations"
FILES = sorted(path for path in FOLDER.glob("*.py") if not path.name.startswith("_"))


def test_the_budget_holds_for_the_experiment_and_its_stages_and_changes_nothing_else():
    before, made = lcr_resnet20.get_config(), budget(lcr_resnet20.get_config())
    assert [(c.epochs, c.data.source.train_size) for c in (made, made.stages[0].config)] == [(10, 5_000)] * 2
    assert made.stages[0].config.data.source is made.data.source  # one place to say where the data lies
    a, b = flatten(to_dict(before)), flatten(to_dict(made))
    changed = {name.removeprefix("stages[0].config.") for name in a if a[name] != b[name]}
    assert changed == {"epochs", "data.source.train_size", "run.eval_every"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
class TestFiles:
    def test_it_has_a_plan_on_the_budget(self, path, tmp_path):
        ablation = load(path)
        assert isinstance(ablation, Ablation)
        planned = plan(ablation, tmp_path)
        assert len(planned.trials) == len(ablation.variants) * len(ablation.seeds)
        assert [run.name for run in planned.shared] == list(ablation.shared)
        for run in (*planned.shared, *planned.trials):
            for config in (run.config, *(stage.config for stage in run.config.stages)):
                assert (config.epochs, config.data.batch_size, config.data.source.train_size) == (10, 128, 5_000)

    def test_the_command_line_overrides_its_experiment(self, path):
        check(load(path), ["--config.base.data.source.directory", "somewhere", "--config.base.epochs", "1"])
        with pytest.raises(ValueError, match=r"did you mean 'config\.base\.epochs'"):
            check(load(path), ["--config.base.epoch", "1"])


def test_alpha_is_the_released_coefficient():
    ablation = load(FOLDER / "lcr_alpha.py")
    assert ablation.base.losses[1].name == "lipschitz"
    weights = {name: fields["losses[1].weight"] for name, fields in ablation.variants.items()}
    assert weights["alpha 8"] == lcr_resnet20.get_config().losses[1].weight
    expected = {"alpha 0": 0.0, "alpha 0.8": 0.1, "alpha 8": 1.0, "alpha 80": 10.0}
    assert {name: weight / weights["alpha 8"] for name, weight in weights.items()} == pytest.approx(expected)


def built(name):
    """The config of each variant of an ablation, as it is run."""
    return {trial.variant: trial.config for trial in plan(load(FOLDER / name), Path("w")).trials}


class TestTermsOfBimodalWeights:
    @pytest.mark.parametrize(
        ("variant", "target", "others", "starts"),
        [
            ("cross-entropy", None, set(), False),
            ("kurtosis 1.2", 1.2, set(), False),
            ("kurtosis 1.8", 1.8, set(), False),
            ("kurtosis 3", 3.0, set(), False),
            ("kurtosis 1.8, mimicking", 1.8, {"mimicking"}, False),
            ("whole recipe", 1.8, {"mimicking", "distillation"}, True),
        ],
    )
    def test_each_variant_has_the_terms_of_its_name(self, variant, target, others, starts):
        made = built("bdbnn_terms.py")[variant]
        terms = {loss.name: loss.term for loss in made.losses}
        assert set(terms) == {"cross_entropy", *others, *(["kurtosis"] if target else [])}
        if target:
            assert terms["kurtosis"].target == target
        assert (made.teacher is not None) == bool(others)
        assert bool(made.init_from) == starts
        assert made.model.weights.build().name == "irnet"

    def test_the_network_that_is_mimicked_is_shaped_by_the_same_target(self):
        [stage] = plan(load(FOLDER / "bdbnn_terms.py"), Path("w")).shared
        assert stage.config.model.weights is None
        assert {loss.name: loss for loss in stage.config.losses}["kurtosis"].term.target == 1.8

    def test_no_other_variant_is_there(self):
        assert len(built("bdbnn_terms.py")) == 6


def test_gammas_differ_in_the_weight_binarizer_alone():
    variants = built("rebnn_gamma.py")
    assert {name: made.model.weights.build().name for name, made in variants.items()} == {
        "mean scale": "reactnet",
        "gamma 0": "rebnn, gamma 0",
        "gamma 0.0002": "rebnn, gamma 0.0002",
        "gamma 0.002": "rebnn, gamma 0.002",
        "gamma 0.02": "rebnn, gamma 0.02",
        "adaptive": "rebnn, adaptive gamma",
        "released": "rebnn, released gamma",
    }
    shared = plan(load(FOLDER / "rebnn_gamma.py"), Path("w")).shared
    assert [run.config.model.weights for run in shared] == [None, None]
    first = flatten(to_dict(variants["mean scale"]))
    for made in variants.values():
        changed = {name for name, value in flatten(to_dict(made)).items() if first.get(name) != value}
        assert all(name.startswith("model.weights") for name in changed)
        assert (made.init_from, made.teacher.source) == ("{workdir}/../../real_weights", "{workdir}/../../teacher")
