"""What a measurement is taken for the same by, and whose errors may be set beside AlexNet's."""

import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.data import Absent, DatasetInfo, array_source
from bnn_jax.data.image_folder import folder_records
from bnn_jax.data.images import ImageSource, View
from bnn_jax.evaluation.robustness.identity import beside_alexnet, caveat, checksum, labels_of

IDS = tuple(f"n{number:08d}" for number in range(1000))


def info(names, name="imagenet", side=224):
    return DatasetInfo(name, len(names), (side, side, 3), (0.5,) * 3, (0.2,) * 3, tuple(names))


class TestAlexNet:
    @pytest.mark.parametrize("name", ["imagenet", "ILSVRC2012", "photographs"])
    @pytest.mark.parametrize("names", [IDS, tuple(map(str, range(1000)))])
    def test_imagenet_in_a_folder_of_any_name_is_beside_it(self, name, names):
        assert beside_alexnet(info(names, name), "imagenet_c")

    def test_other_images_in_a_folder_of_its_name_are_not(self):
        assert not beside_alexnet(info(IDS[:100]), "imagenet_c")
        assert not beside_alexnet(info([f"class {i}" for i in range(1000)]), "imagenet_c")
        assert not beside_alexnet(info(IDS, side=32), "cifar10_c")

    def test_what_might_be_imagenet_is_told_of(self):
        named = [f"class {i}" for i in range(1000)]
        told = caveat(info(named, "photos"), "imagenet_c")
        assert "the 1,000 classes of photos are ImageNet's is not known" in told
        assert "found class 0, class 1, class 2 and" in told
        for classes, variant in ((IDS, "imagenet_c"), (IDS[:100], "imagenet_c"), (named, "cifar10_c")):
            assert caveat(info(classes), variant) is None


def test_a_checksum_sees_every_value_of_every_array():
    tree = {"a": np.zeros((2, 3), np.float32), "b": (jnp.zeros(4, jnp.bfloat16), np.int32(3))}
    assert checksum(tree) == checksum({"b": tree["b"], "a": tree["a"].copy()})
    others = [{**tree, "b": (jnp.zeros(4, jnp.bfloat16).at[3].set(1), np.int32(3))}]
    others += [{**tree, "b": (tree["b"][0], np.int32(4))}, {**tree, "a": np.full((2, 3), 1e-30, np.float32)}]
    assert len({checksum(other) for other in (tree, *others)}) == 4
    assert checksum(np.arange(6).reshape(2, 3)[:, ::2]) == checksum(np.array([[0, 2], [3, 5]]))


def test_labels_are_known_where_no_image_need_be_read(tmp_path):
    for name in ("a/2.png", "a/1.png", "b/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = labels_of(ImageSource(folder_records(tmp_path), View(8, 8)))
    np.testing.assert_array_equal(found, [0, 0, 1])
    np.testing.assert_array_equal(
        labels_of(array_source(np.zeros((2, 4, 4, 3), np.uint8), np.array([3, 1]), 5)), [3, 1]
    )
    assert labels_of(Absent(4)) is None
