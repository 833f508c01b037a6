"""Weights from elsewhere: of runs and files, checked before anything is trained with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.binarizers import WeightBinarizer, irnet, siman
from bnn_jax.binarizers.base import Binary
from bnn_jax.config import StageConfig, TeacherConfig, component
from bnn_jax.training import sources, workdir
from bnn_jax.training.assembly import assemble
from bnn_jax.training.state import LOSSES, init_variables
from tests.training import toy

SHAPE = (6, 6, 2)


def network(weights=None, width=4, seed=0):
    made = toy.Network(3, width, weights, None)
    return made, jax.device_get(init_variables(made, jax.random.key(seed), SHAPE))


def layers(weights):
    return {("conv",): weights, ("dense",): weights}


def shifted():
    """A binarizer which learns, and remembers, something that depends on the weights."""

    def quantize(w, params, memory, *, train, progress):
        return Binary(jnp.where(w >= 0, 1.0, -1.0), params["gain"]), memory

    return WeightBinarizer(
        "shifted",
        quantize,
        lambda w: {"gain": jnp.abs(w).reshape(-1, w.shape[-1]).mean(0)},
        lambda w: {"first": w[..., 0]},
    )


class TestFiles:
    def test_what_is_saved_is_loaded(self, tmp_path):
        _, variables = network(siman())
        sources.save(tmp_path / "weights.npz", variables)
        found = sources.load(
            str(tmp_path / "weights.npz"), toy.config(), tmp_path, checkpoint="best", field="teacher.source"
        )
        toy.assert_identical(found, variables)

    @pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
    def test_another_file_is_refused(self, tmp_path, content):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.npz is not a file of weights"):
            sources.load(str(tmp_path / "x.npz"), toy.config(), tmp_path, checkpoint="best", field="init_from")

    def test_a_single_array_is_refused(self, tmp_path):
        np.save(tmp_path / "x.npy", np.zeros(3))
        with pytest.raises(ValueError, match=r"x\.npy is not a file of weights"):
            sources.load(str(tmp_path / "x.npy"), toy.config(), tmp_path, checkpoint="best", field="init_from")

    def test_an_archive_of_other_arrays_is_refused(self, tmp_path):
        np.savez(tmp_path / "x.npz", images=np.zeros(3))
        with pytest.raises(ValueError, match=r"names begin with params, batch_stats, memory, found \['images'\]"):
            sources.load(str(tmp_path / "x.npz"), toy.config(), tmp_path, checkpoint="best", field="init_from")

    def test_what_is_not_there_is_said_with_the_stages_there_are(self, tmp_path):
        config = toy.config(stages=[StageConfig("float", toy.config())])
        with pytest.raises(
            FileNotFoundError, match=r"init_from = 'flaot': there is no such .* before this one \(float\)"
        ):
            sources.load("flaot", config, tmp_path, checkpoint="best", field="init_from")


class TestFit:
    def test_the_same_variables_fit(self):
        (_, found), (_, like) = network(siman()), network(siman(), seed=1)
        toy.assert_identical(sources.fit(found, like, "it"), found)

    def test_what_a_loss_learned_is_left_out(self):
        _, found = network()
        more = {**found, "params": {**found["params"], LOSSES: {"x": {"scales": np.ones(3)}}}}
        toy.assert_identical(sources.fit(more, found, "it"), found)

    def test_every_mismatch_is_named(self):
        (_, found), (_, like) = network(), network(width=5)
        del found["params"]["norm"]["bias"]
        found["params"]["other"] = {"kernel": np.zeros(2)}
        with pytest.raises(ValueError, match="the weights of runs/x do not fit this network") as caught:
            sources.fit(found, like, "runs/x")
        for part in (
            "params/norm/bias is missing there",
            "params/other/kernel has no place here",
            "params/conv/kernel has shape (3, 3, 2, 4) there, (3, 3, 2, 5) here",
        ):
            assert part in str(caught.value)


class TestStartFrom:
    def test_a_binary_network_starts_from_a_float_one(self):
        (_, found), (_, like) = network(), network(shifted(), seed=1)
        taken = sources.start_from(found, like, layers(shifted()), "it")
        assert jax.tree.structure(taken) == jax.tree.structure(like)
        for layer in ("conv", "dense"):
            kernel = found["params"][layer]["kernel"]
            np.testing.assert_array_equal(taken["params"][layer]["kernel"], kernel)
            gain = np.abs(kernel).reshape(-1, kernel.shape[-1]).mean(0)
            np.testing.assert_allclose(taken["params"][layer]["gain"], gain, 1e-6)
            np.testing.assert_array_equal(taken["memory"][layer]["binarizer"]["first"], kernel[..., 0])
        np.testing.assert_array_equal(taken["params"]["norm"]["scale"], found["params"]["norm"]["scale"])

    def test_from_one_binarizer_to_another(self):
        (_, found), (_, like) = network(siman()), network(irnet(), seed=1)
        taken = sources.start_from(found, like, layers(irnet()), "it")
        assert jax.tree.structure(taken) == jax.tree.structure(like)
        np.testing.assert_array_equal(taken["params"]["conv"]["kernel"], found["params"]["conv"]["kernel"])

    def test_what_binarizers_learned_is_made_anew(self):
        _, found = network(siman())
        found["params"]["conv"]["scale"] = found["params"]["conv"]["scale"] * 7
        _, like = network(siman(), seed=1)
        taken = sources.start_from(found, like, layers(siman()), "it")
        np.testing.assert_array_equal(taken["params"]["conv"]["scale"], like["params"]["conv"]["scale"])

    def test_another_shape_is_refused(self):
        (_, found), (_, like) = network(), network(siman(), width=5)
        with pytest.raises(ValueError, match="params/conv/kernel has shape"):
            sources.start_from(found, like, layers(siman()), "it")


class TestExperiment:
    def test_the_teachers_weights_are_in_the_state_and_survive_a_checkpoint(self, tmp_path):
        there = toy.config(epochs=1, seed=3)
        workdir.claim(tmp_path / "there", there)
        toy.run(there, tmp_path / "there")
        config = toy.config(epochs=1, teacher=TeacherConfig(str(tmp_path / "there"), "last"))
        state = assemble(config).start_state(tmp_path / "here")
        final, _ = toy.stored(tmp_path / "there", there)
        toy.assert_identical(jax.device_get(state.teacher), final.variables)
        toy.run(config, tmp_path / "here")
        after, _ = toy.stored(tmp_path / "here", config)
        toy.assert_identical(after.teacher, final.variables)

    def test_training_starts_from_another_runs_weights(self, tmp_path):
        there = toy.config(epochs=1, seed=3)
        workdir.claim(tmp_path / "there", there)
        toy.run(there, tmp_path / "there")
        config = toy.config(epochs=1, init_from=str(tmp_path / "there"))
        state = jax.device_get(assemble(config).start_state(tmp_path / "here"))
        final, _ = toy.stored(tmp_path / "there", there)
        np.testing.assert_array_equal(state.params["conv"]["kernel"], final.params["conv"]["kernel"])
        toy.assert_identical(state.batch_stats, final.batch_stats)
        assert int(state.step) == 0
        fresh = assemble(config).init_state()
        assert jax.tree.structure(state) == jax.tree.structure(fresh)
        assert not np.array_equal(state.params["conv"]["kernel"], fresh.params["conv"]["kernel"])

    def test_a_file_needs_to_say_of_which_network(self, tmp_path):
        sources.save(tmp_path / "w.npz", network()[1])
        config = toy.config(teacher=TeacherConfig(str(tmp_path / "w.npz")))
        with pytest.raises(ValueError, match=r"teacher\.model must say of which network"):
            assemble(config)
        config.teacher.model = component(toy.network)
        with pytest.raises(ValueError, match="do not fit this network"):  # of another input and width
            assemble(config).start_state(tmp_path)

    def test_a_term_without_its_teacher_is_refused_before_training(self):
        config = toy.config(losses=[*toy.config().losses, toy.mimic_loss()])
        with pytest.raises(ValueError, match="mimic needs a teacher"):
            assemble(config)
