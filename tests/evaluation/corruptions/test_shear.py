"""The elastic transform's shear beside OpenCV's, with which ImageNet-C was made, where that is installed (`bench`).

The package imagecorruptions has none, so that no other comparison with foreign code sees it. OpenCV before 5, and so
the one of ImageNet-C's time, rounds places to 1/32 of a pixel.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.corruptions.elastic import shear


@pytest.mark.parametrize(("variant", "side"), [("imagenet_c", 224), ("cifar10_c", 32)])
@pytest.mark.parametrize("severity", corruptions.SEVERITIES)
def test_it_is_opencvs_affine_map(variant, side, severity):
    cv2 = pytest.importorskip("cv2", minversion="5", reason="OpenCV 5 is not installed (pip install -e '.[bench]')")
    rng = np.random.default_rng(severity)
    # Of 8 x 8 colours, between which it changes slowly.
    image = np.clip(cv2.resize(rng.random((8, 8, 3)), (side, side), interpolation=cv2.INTER_CUBIC), 0, 1)
    most = corruptions.VARIANTS[variant]["elastic_transform"][severity - 1][2]
    moves = most * rng.uniform(-1, 1, (3, 2))
    middle, third = np.array([side // 2] * 2), side // 3
    corners = middle + third * np.array([[1, 1], [1, -1], [-1, -1]])
    affine = cv2.getAffineTransform(corners.astype(np.float32), (corners + moves).astype(np.float32))
    expected = cv2.warpAffine(image.astype(np.float32), affine, (side, side), borderMode=cv2.BORDER_REFLECT_101)
    found = jax.jit(shear)(jnp.asarray(image, jnp.float32), jnp.asarray(moves, jnp.float32))
    assert np.max(abs(expected - image)) > 0.1
    np.testing.assert_allclose(255 * np.asarray(found), 255 * expected, rtol=0, atol=0.01)
