"""From a config to everything a run is made of; what cannot run is refused first."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.binarizers import siman
from bnn_jax.config import LossConfig, component
from bnn_jax.data import cifar10, image_folder
from bnn_jax.losses import cross_entropy
from bnn_jax.models import resnet20, vgg_small
from bnn_jax.regularizers import distillation_term
from bnn_jax.training.assembly import assemble, synchronized
from bnn_jax.training.examples import opener
from bnn_jax.training.schedules import start_at
from tests.training import toy


def ramp(epochs: int, slope: float = 1.0):
    """A schedule of a loss's weight, over epochs as those of the learning rate."""
    return lambda epoch: slope * epoch / epochs


def constant_term(value: float = 1.0):
    return lambda outputs: value + 0.0 * jnp.sum(outputs.logits)


UNKNOWN_KIND = LossConfig("soft", component(distillation_term, kind="kk"))


class TestWithoutData:
    @pytest.fixture
    def config(self, tmp_path, monkeypatch):
        for name in ("BNN_JAX_DATA", "TFDS_DATA_DIR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        made = toy.config()
        made.data.source = component(cifar10, train_size=1000)
        return made

    def test_a_dry_run_of_a_published_set_goes_by_what_is_known_of_it(self, config):
        experiment = assemble(config, opener(dry=True))
        assert (len(experiment.splits.train), experiment.steps_per_epoch) == (1000, 62)

    def test_a_run_is_refused(self, config):
        with pytest.raises(FileNotFoundError, match="cifar10: expected"):
            assemble(config)

    def test_a_folder_that_was_named_is_not_overlooked_in_a_dry_run(self, config, tmp_path):
        config.data.source.directory = str(tmp_path)
        with pytest.raises(FileNotFoundError, match="cifar10: expected"):
            assemble(config, opener(dry=True))

    def test_of_a_set_of_the_users_own_nothing_is_known(self, tmp_path):
        config = toy.config()
        config.data.source = component(image_folder, directory=str(tmp_path))
        with pytest.raises(FileNotFoundError, match="expected the folders train/ and val/"):
            assemble(config, opener(dry=True))


class TestRefusals:
    @pytest.mark.parametrize(
        ("path", "value", "message"),
        [
            ("epochs", 0, "epochs must be 1 or more, found 0"),
            ("run.log_every", 0, "run.log_every must be 1 or more, found 0"),
            ("run.eval_every", 0, "run.eval_every must be 1 or more epochs, found 0"),
            ("run.checkpoint_every", -1, "run.checkpoint_every must be 1 or more epochs, found -1"),
            ("run.telemetry_every", 2, "(three successive ones are compared), or 0 for none, found 2"),
            ("run.telemetry_every", -1, "run.telemetry_every must be 3 or more steps"),
            ("run.read_threads", -1, "run.read_threads must be 0 or more, found -1"),
            ("seed", -1, "seed must be 0 or more, found -1"),
            ("data.crop_padding", -1, "data.crop_padding must be 0 or more pixels, found -1"),
            ("data.lighting", -0.1, "data.lighting must be 0 or more, found -0.1"),
            ("data.lighting", 0.1, "data.lighting must be 0, found 0.1: images of digits have 1 channels"),
            ("losses", [], "losses holds no term"),
            ("data.batch_size", 0, "data.batch_size = 0 cannot be split"),
            ("data.eval_batch_size", -5, "data.eval_batch_size = -5 cannot be split"),
            ("data.batch_size", 161, "data.batch_size = 161 exceeds the 160 training examples of digits"),
            ("optimizer.no_decay", "nothing", "optimizer.no_decay = 'nothing' matches no parameter"),
        ],
    )
    def test_a_value_out_of_range_is_refused_by_its_name(self, path, value, message):
        config = toy.config()
        *holders, field = path.split(".")
        holder = config
        for name in holders:
            holder = getattr(holder, name)
        setattr(holder, field, value)
        with pytest.raises(ValueError, match=re.escape(message)):
            assemble(config)

    def test_a_loss_with_the_name_that_binarizers_report_under_is_refused(self):
        with pytest.raises(ValueError, match="a loss cannot be named 'binarizers'"):
            assemble(toy.config(losses=[LossConfig("binarizers", component(constant_term))]))

    def test_two_losses_of_one_name_are_refused(self):
        twice = [LossConfig("a", component(cross_entropy)), LossConfig("a", component(cross_entropy))]
        with pytest.raises(ValueError, match=r"different names, found \['a', 'a'\]"):
            assemble(toy.config(losses=twice))

    def test_a_warm_up_as_long_as_the_run_is_refused(self):
        config = toy.config()
        config.optimizer.schedule.warmup_epochs = 4
        with pytest.raises(ValueError, match=r"optimizer\.schedule: warmup_epochs must .* found 4 with epochs ="):
            assemble(config)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda c: setattr(c.model.weights, "code_rule", "angel"), "model.weights: unknown code_rule 'angel'"),
            (lambda c: setattr(c, "losses", [UNKNOWN_KIND]), "losses[0].term: unknown kind 'kk'"),
        ],
    )
    def test_a_refused_option_is_named_with_its_place(self, change, message):
        config = toy.config()
        change(config)
        with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
            assemble(config)


class TestAssemble:
    def test_steps_rates_layers_and_shapes_follow_from_config_and_data(self):
        config = toy.config()
        config.data.batch_size = 30
        made = assemble(config)
        assert (made.steps_per_epoch, made.total_steps) == (5, 20)  # 160 examples: ten are left out
        assert made.learning_rates == pytest.approx([0.1, 0.08535534, 0.05, 0.01464466])
        assert set(made.layers) == {("conv",)}
        assert made.model.num_classes == 10
        assert made.abstract_state().params["conv"]["kernel"].shape == (3, 3, 1, 4)

    def test_the_first_state_depends_on_the_seed_alone(self):
        states = [assemble(toy.config(seed=seed)).init_state() for seed in (0, 0, 1)]
        toy.assert_identical(states[0], states[1])
        kernels = [state.params["conv"]["kernel"] for state in states]
        assert (np.asarray(kernels[0]) != kernels[2]).all()
        abstract = assemble(toy.config()).abstract_state()
        assert jax.tree.map(lambda x: (x.shape, x.dtype), states[0]) == jax.tree.map(
            lambda x: (x.shape, x.dtype), abstract
        )

    def test_the_schedule_and_the_weight_of_a_loss_are_multiplied(self):
        losses = [
            LossConfig("rising", component(constant_term), 10.0, component(ramp, slope=2.0)),
            LossConfig("steady", component(constant_term, value=3.0), 0.5),
            LossConfig("late", component(constant_term, value=7.0), 1.0, component(start_at, start=1)),
        ]
        made = assemble(toy.config(losses=losses, epochs=4))
        batch = {"image": np.zeros((1, 16, 8, 8, 1), np.uint8), "label": np.zeros((1, 16), np.int32)}
        for epoch in (0, 1, 3):
            state = made.init_state()
            step = jnp.asarray(epoch * made.steps_per_epoch, jnp.int32)
            _, metrics = made.train_step(state.replace(step=step), batch)
            np.testing.assert_allclose(metrics.loss, 10 * 2 * epoch / 4 + 0.5 * 3 + 7 * (epoch >= 1), rtol=1e-6)
            np.testing.assert_allclose(metrics.terms["rising"], 1.0)


class TestSynchronized:
    @pytest.mark.parametrize("factory", [resnet20, vgg_small])
    def test_batch_norms_of_the_library_reduce_over_the_mapped_axis(self, factory):
        model = synchronized(factory(10, weights=siman()))
        assert model.parts.axis_name == "batch"

    def test_a_model_without_such_norms_stays_as_it_is(self):
        model = object()
        assert synchronized(model) is model
