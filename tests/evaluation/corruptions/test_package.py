"""The same pixels as the Python package imagecorruptions makes of the same draws, where that is installed.

It is not among the development tools: it asks for OpenCV with its windows. `benchmarks/corruption_agreement.py` makes
the same comparison on photographs; benchmarks/README.md has its table.
"""

import importlib.util

import jax
import numpy as np
import pytest

from benchmarks.corruption_agreement import BANDS, USUAL, agreement
from bnn_jax.evaluation import corruptions

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("imagecorruptions") is None,
    reason="imagecorruptions is not installed (pip install -e '.[bench]')",
)


@pytest.mark.parametrize("name", corruptions.ALL)
def test_it_makes_the_same_pixels(name, test_data):
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:72, :72]
    x = np.stack([np.sin(rows / 9 + c) * np.cos(columns / (7 + c)) / 2 + 0.5 for c in range(3)], -1)
    image = np.uint8(255 * np.clip(x + 0.05 * rng.normal(size=x.shape), 0, 1))
    most, least = BANDS.get(name, USUAL)
    for found in agreement(name, [image], jax.random.key(0), test_data / "data" / "frost"):
        assert found.difference <= most, found
        assert found.psnr >= least, found
