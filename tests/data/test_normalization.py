import numpy as np
import pytest

from bnn_jax.data.normalization import IMAGENET, channel_stats, choose


def test_statistics_equal_numpys():
    images = np.random.default_rng(0).integers(0, 256, (2100, 3, 2, 3), dtype=np.uint8)
    stats = channel_stats(images)
    np.testing.assert_allclose(stats.mean, (images / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(stats.std, (images / 255).std((0, 1, 2)), rtol=1e-10)


def test_choice():
    assert choose("imagenet", {"imagenet": IMAGENET}, "set") == IMAGENET
    with pytest.raises(ValueError, match=r"set: expected normalization to be one of \['imagenet'\], found 'x'"):
        choose("x", {"imagenet": IMAGENET}, "set")
