"""Magnitudes with ties, and weights of usual distributions."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

SHAPES = [(2, 1), (5, 3), (36, 4), (3, 3, 3, 5), (2, 7, 2)]
# Few values, so that ties abound; signs of zero included.
TIED = st.sampled_from([0.0, -0.0, 0.25, 0.5, 1.0, 3.0])
FINITE = st.floats(0, 100, width=32, allow_subnormal=False)


def arrays(elements, shapes=tuple(SHAPES)):
    return st.sampled_from(shapes).flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=elements))


def laplace(shape, seed=0, scale=0.1):
    return np.random.default_rng(seed).laplace(scale=scale, size=shape).astype(np.float32)


def normal(shape, seed=0, scale=1.0):
    return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float32)


def share(code):
    return np.asarray(code).mean()
