"""Pixels beside those that the package imagecorruptions made of the same draws; `benchmarks/corruption_golden.py`."""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.corruption_agreement import BANDS, USUAL, apply_of, constants_of
from benchmarks.corruption_golden import GOLDEN, SAMPLE, SIDE, draws_of, picture
from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.corruptions import record
from bnn_jax.evaluation.corruptions.frost import pack

# The bands are for whole photographs: among 192 values there may be twice as many that fall below a whole step.
FEW = 2


@pytest.mark.parametrize("name", corruptions.ALL)
def test_they_are_the_packages(name):
    with np.load(GOLDEN) as golden:
        expected, part = golden[name].astype(float), golden["frost_part"]
    rows = corruptions.VARIANTS["imagenet_c"][name]
    constants = pack(rows, [part]) if name == "frost" else constants_of(name, (SIDE, SIDE, 3), None)
    apply, draws, image = apply_of(name), draws_of(name), jnp.asarray(picture(), jnp.float32) / 255
    most, least = BANDS.get(name, USUAL)
    for severity in corruptions.SEVERITIES:
        made = record.to_bytes(jnp.clip(apply(image, draws, record.at(constants, severity)), 0, 1))
        off = abs(np.asarray(made)[SAMPLE] - expected[severity - 1])
        assert off.mean() <= FEW * most, severity
        assert np.mean(off**2) <= FEW * 255**2 / 10 ** (least / 10), severity
