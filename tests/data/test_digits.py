import numpy as np
import pytest

from bnn_jax.data import digits


def test_split_is_complete_stratified_and_disjoint():
    from sklearn.datasets import load_digits

    splits = digits()
    raw = load_digits()
    assert len(splits.train) + len(splits.test) == 1797
    shares = np.bincount(splits.test.labels) / np.bincount(raw.target)
    np.testing.assert_allclose(shares, 0.2, atol=0.004)
    # All images of this set differ, so sets of bytes show that nothing is lost or in both splits.
    train, test = ({image.tobytes() for image in part.images} for part in (splits.train, splits.test))
    everything = {np.rint(image * 255 / 16).astype(np.uint8).tobytes() for image in raw.images}
    assert not train & test
    assert train | test == everything
    assert len(everything) == 1797
    assert splits.train.images.max() == 255


def test_seed_decides_the_split():
    np.testing.assert_array_equal(digits(seed=3).test.images, digits(seed=3).test.images)
    assert (digits(seed=3).test.images != digits(seed=4).test.images).any()


def test_enlarging_repeats_pixels():
    small, large = digits(), digits(image_size=16)
    assert large.info.image_shape == (16, 16, 1)
    np.testing.assert_array_equal(large.train.images[:, ::2, 1::2], small.train.images)
    np.testing.assert_allclose(large.info.mean, small.info.mean)


@pytest.mark.parametrize("fraction", [1e-9, 1 - 1e-9])
def test_every_class_is_in_both_splits(fraction):
    splits = digits(test_fraction=fraction)
    assert np.bincount(splits.train.labels, minlength=10).min() >= 1
    assert np.bincount(splits.test.labels, minlength=10).min() >= 1


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"digits: expected test_fraction above 0 and below 1, found 1.0"):
        digits(test_fraction=1.0)
    with pytest.raises(ValueError, match=r"digits: expected image_size to be a multiple of 8, found 12"):
        digits(image_size=12)
