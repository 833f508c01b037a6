"""Which runs an ablation has; what is wrong with it is said before any of them."""

import re
from pathlib import Path

import pytest

from bnn_jax.ablation import runner
from bnn_jax.ablation.plan import plan
from bnn_jax.config import StageConfig, differences, to_dict
from bnn_jax.training import stages
from tests.ablation import tiny
from tests.training import toy


class TestPlan:
    def test_every_variant_with_every_seed_in_folders_of_their_own_after_what_they_share(self):
        planned = plan(tiny.ablation(), Path("w"))
        assert [(run.name, run.workdir) for run in planned.shared] == [("teacher", Path("w/teacher"))]
        assert [(trial.variant, trial.seed, trial.workdir) for trial in planned.trials] == [
            ("as it is", 0, Path("w/as_it_is/seed0")),
            ("mimic = 0.5", 0, Path("w/mimic_0.5/seed0")),
            ("as it is", 1, Path("w/as_it_is/seed1")),
            ("mimic = 0.5", 1, Path("w/mimic_0.5/seed1")),
        ]

    def test_a_run_is_the_experiment_with_the_variants_fields_and_the_seed_taught_from_the_shared_folder(self):
        ablation = tiny.ablation()
        before = to_dict(ablation.base)
        trial = plan(ablation, Path("w")).trials[3]
        assert differences(ablation.base, trial.recipe) == ["losses[1].weight: 0.1 -> 0.5", "seed: 0 -> 1"]
        config = trial.config
        assert (config.seed, config.losses[1].weight, config.stages) == (1, 0.5, [])
        assert config.teacher.source == "{workdir}/../../teacher"
        assert stages.locate(config.teacher.source, config, trial.workdir) == Path("w/teacher")
        assert config.teacher.model == ablation.base.stages[0].config.model
        assert to_dict(ablation.base) == before

    def test_a_shared_stage_keeps_its_own_seed_and_another_takes_that_of_the_run(self):
        for shared, expected in ((("teacher",), []), ((), [1])):
            planned = plan(tiny.ablation(shared=shared), Path("w"))
            assert [run.config.seed for run in planned.shared] == ([5] if shared else [])
            assert [stage.config.seed for stage in planned.trials[-1].config.stages] == expected

    def test_a_shared_stage_may_build_on_another_whatever_their_order(self):
        ablation = tiny.ablation(shared=("middle", "teacher"))
        ablation.base.stages.append(StageConfig("middle", toy.config(init_from="teacher")))
        ablation.base.init_from = "middle"
        planned = plan(ablation, Path("w"))
        assert [(run.name, run.config.init_from) for run in planned.shared] == [
            ("teacher", ""),
            ("middle", "{workdir}/../teacher"),
        ]
        assert all(not run.config.stages for run in planned.shared)
        assert {trial.config.init_from for trial in planned.trials} == {"{workdir}/../../middle"}

    def test_a_stage_of_a_runs_own_may_build_on_a_shared_one(self):
        ablation = tiny.ablation()
        ablation.base.stages.append(StageConfig("middle", toy.config(init_from="teacher")))
        ablation.base.init_from = "middle"
        trial = plan(ablation, Path("w")).trials[0]
        [stage] = trial.config.stages
        assert (stage.name, stage.config.init_from) == ("middle", "{workdir}/../../../teacher")
        [middle, _] = stages.plan(trial.config, trial.workdir)
        assert stages.locate(stage.config.init_from, middle.config, middle.workdir) == Path("w/teacher")

    def test_a_shared_stage_that_no_variant_needs_is_no_run(self):
        alone = {"losses": toy.config().losses, "teacher": None}
        assert plan(tiny.ablation(variants={"alone": alone}), Path("w")).shared == ()
        assert len(plan(tiny.ablation(variants={"alone": alone, "taught": {}}), Path("w")).shared) == 1


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"variants": {"a": {"losses[1].wait": 1.0}}},
                "variant 'a': config.losses[1] has no field 'wait' (did you mean 'config.losses[1].weight'?)",
            ),
            ({"variants": {"a": {"epochs": "9"}}}, "variant 'a': epochs: expected int like 2, found '9'"),
            ({"variants": {"a": {"seed": 3}}}, "variant 'a' sets the seed: list seeds in `seeds`"),
            ({"variants": {}}, "one variant and one seed at least, found 0 variants and 2 seeds"),
            ({"seeds": ()}, "one variant and one seed at least, found 2 variants and 0 seeds"),
            ({"seeds": (1, 1)}, "seeds must be different whole numbers of 0 or more, found (1, 1)"),
            ({"seeds": (-1,)}, "seeds must be different whole numbers of 0 or more, found (-1,)"),
            ({"shared": ("teachr",)}, "has no stage 'teachr' (did you mean 'teacher'?)"),
            ({"variants": {"a b": {}, "A/b": {}}}, "'a b' and 'A/b' would share the folder 'A_b'"),
            ({"variants": {"teacher": {}}}, "'teacher' and 'teacher' would share the folder 'teacher'"),
            ({"variants": {"..": {}}}, "variant '..' cannot name a folder"),
            ({"measures": (lambda workdir: {},)}, "a measure must be a function that was defined by name"),
            ({"measures": (tiny.gain, tiny.gain)}, "measures must be functions of different names"),
            (
                {"variants": {"a": {}, "b": {"stages[0].config.epochs": 3}}},
                "the stage 'teacher' is shared, but differs between the variants 'a' and 'b' (epochs: 1 -> 3)",
            ),
        ],
    )
    def test_an_ablation_that_cannot_be_run_is_refused(self, changes, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            plan(tiny.ablation(**changes), Path("w"))

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"data.batch_size": 999}, "variant 'b': data.batch_size = 999 exceeds the 160 training examples"),
            (
                {"init_from": "teacher", "model.width": 6},
                "variant 'b': the weights of init_from = 'teacher' (a stage, with a network",
            ),
        ],
    )
    def test_all_variants_are_checked_before_the_first_run(self, tmp_path, fields, message):
        ablation = tiny.ablation(variants={"a": {}, "b": fields})
        with pytest.raises(ValueError, match=re.escape(message)):
            runner.check(ablation, plan(ablation, tmp_path / "w"), tmp_path / "w")
        assert not (tmp_path / "w").exists()

    def test_a_folder_of_something_else_is_refused(self, tmp_path):
        (tmp_path / "thesis.txt").touch()
        ablation = tiny.ablation()
        with pytest.raises(ValueError, match=r"holds no ablation\.json: use a new or empty folder"):
            runner.check(ablation, plan(ablation, tmp_path), tmp_path)
