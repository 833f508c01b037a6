"""torchvision's ResNet-18 and 34: the converted network is the same function, and other files are refused."""

from functools import cache

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from bnn_jax import models
from bnn_jax.config import TeacherConfig, component
from bnn_jax.config.file import load
from bnn_jax.convert import torchvision
from bnn_jax.training import sources
from bnn_jax.training.state import init_variables
from tests.conftest import ROOT
from tests.reference import torchvision as reference
from tests.reference.layouts import nhwc
from tests.training import toy

# As its documentation counts them, with 1,000 classes.
PARAMETERS = {18: 11_689_512, 34: 21_797_672}
depths = pytest.mark.parametrize("depth", PARAMETERS)


@cache
def drawn(depth, classes=5):
    """A random state_dict; copied before it is changed."""
    return reference.state_dict(depth, classes)


def shapes_of(network):
    return jax.eval_shape(lambda: init_variables(network, jax.random.key(0), (64, 64, 3)))


class TestVariables:
    @depths
    def test_every_variable_is_filled_once_and_every_entry_used_once(self, depth):
        """With a number of its own in each entry: it is found in one variable, as often as in the entry."""
        shapes = reference.shapes(depth, 1000)
        entries = [name for name in shapes if not name.endswith("num_batches_tracked")]
        state = {name: np.full(shapes[name], i, np.float32) for i, name in enumerate(entries)}
        found = torchvision.convert(state)
        like = shapes_of(torchvision.resnet(1000, depth))
        assert jax.tree.structure(found) == jax.tree.structure(like)
        leaves = jax.tree.leaves(found)
        assert [(v.shape, v.dtype) for v in leaves] == [(v.shape, v.dtype) for v in jax.tree.leaves(like)]
        assert sorted((v.flat[0], v.size) for v in leaves) == [(i, state[name].size) for i, name in enumerate(entries)]
        assert all(v.min() == v.max() for v in leaves)
        assert sum(v.size for v in jax.tree.leaves(found["params"])) == PARAMETERS[depth]

    def test_they_are_copies(self):
        state = dict(drawn(18))
        found = flatten_dict(torchvision.convert(state))
        assert not any(np.shares_memory(a, b) for a in found.values() for b in state.values())

    def test_half_precision_becomes_single(self):
        state = {name: value.astype(np.float16) for name, value in drawn(18).items()}
        found = torchvision.convert(state)
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.float32)}
        np.testing.assert_array_equal(found["params"]["classifier"]["bias"], state["fc.bias"])


@depths
def test_the_converted_network_is_the_same_function(depth):
    """Logits, and the output of the stem and of every stage: also of images whose sides no stage divides."""
    state = drawn(depth)
    x = np.random.default_rng(1).normal(size=(2, 3, 64, 50))
    network = torchvision.resnet(5, depth)
    logits, features = network.apply(torchvision.convert(state), nhwc(x).astype(np.float32))
    expected, stages = reference.forward(state, x.astype(np.float32))
    assert features.keys() == stages.keys()
    for found, exact in [(logits, expected), *((features[name], stages[name]) for name in stages)]:
        assert found.shape == exact.shape
        np.testing.assert_allclose(found, exact, rtol=0, atol=3e-6 * np.abs(exact).max())


@depths
def test_the_teachers_of_the_configs_for_imagenet_are_this_network(depth):
    config = load(ROOT / "configs" / "imagenet" / f"lcr_resnet{depth}.py")
    assert config.teacher.model.build(num_classes=1000) == torchvision.resnet(1000, depth)


class TestRefusals:
    @staticmethod
    def changed(**entries):
        """The state_dict with entries changed; without those that are None."""
        return {name: value for name, value in {**drawn(18), **entries}.items() if value is not None}

    @pytest.mark.parametrize(
        ("entries", "message"),
        [
            ({"layer3.1.bn2.running_var": None}, r"layer3\.1\.bn2\.running_var is missing"),
            ({"fc.bias": None}, r"fc\.bias is missing$"),
            ({"fc.weight": None}, r"fc\.weight is missing$"),
            ({"layer2.0.downsample.0.weight": None}, r"layer2\.0\.downsample\.0\.weight is missing$"),
            ({"conv1.bias": np.zeros(64)}, r"conv1\.bias is unknown$"),
            ({"aux.fc.weight": np.zeros(64)}, r"aux\.fc\.weight is unknown$"),
            (
                {"conv1.weight": np.zeros((64, 3, 3, 3))},
                r"conv1\.weight: expected shape \(64, 3, 7, 7\), found \(64, 3, 3, 3\)$",
            ),
            ({"fc.weight": np.zeros((5, 256))}, r"fc\.weight: expected shape \(5, 512\), found \(5, 256\)$"),
            ({"fc.bias": np.zeros(4)}, r"fc\.bias: expected shape \(5,\), found \(4,\)$"),
            ({"fc.bias": np.zeros(5, np.int8)}, r"fc\.bias: expected floating numbers, found int8$"),
        ],
    )
    def test_an_entry_that_does_not_fit_is_named(self, entries, message):
        with pytest.raises(ValueError, match=message) as caught:
            torchvision.convert(self.changed(**entries))
        assert str(caught.value).startswith("this is not the state_dict of torchvision's ResNet-18:\n  ")
        assert len(str(caught.value).splitlines()) == 2

    def test_of_many_the_first_are_named_and_the_rest_counted(self):
        state = self.changed(**{name: value.T for name, value in drawn(18).items() if value.ndim == 4})
        with pytest.raises(ValueError, match=r"conv1\.weight: expected shape (.*\n){8}  and 12 more$"):
            torchvision.convert(state)

    def test_what_older_files_lack_is_not_missed(self):
        state = {name: value for name, value in drawn(18).items() if not name.endswith("num_batches_tracked")}
        toy.assert_identical(torchvision.convert(state), torchvision.convert(drawn(18)))

    def test_blocks_of_three_convolutions_are_refused(self):
        with pytest.raises(ValueError, match="ResNet-50 and deeper ones have"):
            torchvision.convert(self.changed(**{"layer1.0.conv3.weight": np.zeros((256, 64, 1, 1))}))

    @pytest.mark.parametrize(
        ("rename", "message"),
        [
            (lambda name: f"module.{name}", r"found \(0, 0, 0, 0\), and the names module\.conv1\.weight, "),
            (lambda name: name.replace("layer4.1", "layer4.0"), r"found \(2, 2, 2, 1\)"),
            (lambda name: name.replace("layer4.1", "layer4.2"), r"layer4\.1\.conv1\.weight is missing"),
            (lambda name: name.replace("layer4.1", "layer5.0"), r"found \(2, 2, 2, 1\)"),
        ],
    )
    def test_other_blocks_are_refused(self, rename, message):
        with pytest.raises(ValueError, match=message):
            torchvision.convert({rename(name): value for name, value in drawn(18).items()})

    def test_nothing_is_refused(self):
        with pytest.raises(ValueError, match=r"and the names \(none\)"):
            torchvision.convert({})


class TestCommand:
    def test_what_it_writes_is_a_teacher(self, run_python, tmp_path):
        state, target = drawn(18, classes=10), tmp_path / "resnet18.npz"
        np.savez(tmp_path / "torch.npz", **state)
        output = run_python(["-m", "bnn_jax.convert.torchvision", tmp_path / "torch.npz", target])
        assert "ResNet-18, 10 classes, 11,181,642 parameters" in output
        assert f"--config.teacher.source {target}" in output
        printed = eval(output.splitlines()[-1].strip(), {"component": component, "models": models})
        config = toy.config(teacher=TeacherConfig(str(target), model=printed))
        network = sources.teacher_network(config, None).build(num_classes=10)
        found = sources.load(str(target), config, tmp_path, checkpoint="last", field="teacher.source")
        toy.assert_identical(sources.fit(found, shapes_of(network), "it"), torchvision.convert(state))

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (("torch.npz", "resnet18"), r"expected the name of the file to write to end in \.npz, found '.*resnet18'"),
            (("torch.npz", "torch.npz"), r"torch\.npz would be written over itself"),
            (("nowhere.npz", "resnet18.npz"), r"nowhere\.npz"),
            (("torch.npz", "nowhere/resnet18.npz"), r"nowhere/resnet18\.npz"),
            (("other.npz", "resnet18.npz"), r"found \(0, 0, 0, 0\), and the names images"),
        ],
    )
    def test_what_it_cannot_do_is_said_in_words(self, tmp_path, names, message):
        np.savez(tmp_path / "torch.npz", **drawn(18))
        np.savez(tmp_path / "other.npz", images=np.zeros(3))
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.raises(SystemExit, match=message) as caught:
            torchvision.main([str(tmp_path / name) for name in names])
        assert str(caught.value).startswith("python -m bnn_jax.convert.torchvision: ")
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
