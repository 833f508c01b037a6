import numpy as np
import pytest

from bnn_jax.data import from_arrays


def _arrays(n, shape=(4, 4, 2), seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, *shape), dtype=np.uint8), rng.integers(0, 3, n)


def test_measures_what_is_not_given():
    images, labels = _arrays(20)
    splits = from_arrays(images, labels, *_arrays(5), 3, std=[0.1, 0.2], class_names=["a", "b", "c"])
    np.testing.assert_allclose(splits.info.mean, (images / 255).mean((0, 1, 2)))
    assert splits.info.std == (0.1, 0.2)
    assert splits.info.image_shape == (4, 4, 2)
    assert splits.info.class_names == ("a", "b", "c")
    assert (len(splits.train), len(splits.test)) == (20, 5)
    np.testing.assert_array_equal(splits.train[3]["image"], images[3])


def test_names_the_split_in_errors():
    images, labels = _arrays(20)
    with pytest.raises(ValueError, match=r"mine, test: expected labels in \[0, 3\), found 9 at index 1"):
        from_arrays(images, labels, images[:3], np.array([0, 9, 1]), 3, name="mine")
    with pytest.raises(ValueError, match=r"expected test images of the training images' shape \(4, 4, 2\)"):
        from_arrays(images, labels, *_arrays(5, (8, 4, 2)), 3)
    with pytest.raises(ValueError, match=r"expected every std above 0"):
        from_arrays(np.zeros_like(images), labels, images, labels, 3)
