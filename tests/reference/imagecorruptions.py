"""The Python package imagecorruptions, made to run with today's libraries and with draws that are given to it.

It calls NumPy's global generator. Here its draws are those of `bnn_jax.evaluation.corruptions`, so that what both do
with them can be compared pixel by pixel. Needs the extra `bench`.
"""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import numpy as np
import scipy.stats


def load():
    """Its module of corruptions; None where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from imagecorruptions import corruptions
        except ImportError:
            return None
    smooth = getattr(corruptions.gaussian, "original", corruptions.gaussian)

    def gaussian(image, *args, multichannel=False, **options):
        return smooth(image, *args, channel_axis=-1 if multichannel else None, **options)

    # scikit-image has renamed an argument, NumPy 2 a dtype.
    gaussian.original = smooth
    corruptions.gaussian = gaussian
    if not hasattr(np, "float_"):
        setattr(np, "float_", np.float64)  # noqa: B010 (the package's name for it)
    return corruptions


class _Generator:
    """What scikit-image's salt and pepper draws from: which values are hit, and which of them are salt."""

    def __init__(self, uniform, amount):
        self.answers = iter([uniform, np.where(uniform < amount / 2, 0.0, 1.0)])

    def random(self, size):
        answer = next(self.answers)
        assert answer.shape == size
        return answer


def _normal(draws):
    return {"normal": lambda size, scale=1.0, loc=0.0: loc + scale * np.asarray(draws, np.float64).reshape(size)}


def _glass(uniform, reach, passes):
    height, width = uniform.shape[1:3]

    def steps() -> Iterator[np.ndarray]:
        for i in range(passes):
            for row in range(height - reach, reach, -1):
                for column in range(width - reach, reach, -1):
                    yield np.floor(uniform[i, row, column] * 2 * reach).astype(int) - reach

    each = steps()
    return {"randint": lambda low, high, size: next(each)}


def _frost(uniform):
    shares = iter(uniform)
    return {"randint": lambda low, high=None: int(np.floor(next(shares) * (low if high is None else high)))}


def _fog(uniform):
    taken = [0]

    def wibble(low, high, shape):
        first, taken[0] = taken[0], taken[0] + int(np.prod(shape))
        assert low == -high
        return high * uniform[first : taken[0]].reshape(shape)

    return {"uniform": wibble}


def _elastic(draws):
    shifts = iter(draws[1])
    return {"uniform": lambda low, high, size: high * next(shifts)}


def _answers(name, draws, row):
    """What NumPy's functions return for the draws of a corruption with the numbers `row`."""
    if name in ("gaussian_noise", "speckle_noise", "spatter"):
        return _normal(draws)
    if name == "shot_noise":
        return {"poisson": lambda mean: np.maximum(scipy.stats.poisson.ppf(draws, mean), 0)}
    if name == "impulse_noise":
        return {"default_rng": lambda seed=None: _Generator(draws, row[0])}
    if name == "glass_blur":
        return _glass(draws, int(row[1]), int(row[2]))
    if name == "motion_blur":
        return {"uniform": lambda low, high: float(draws)}
    if name == "snow":
        return {**_normal(draws[0]), "uniform": lambda low, high: float(draws[1])}
    special = {"frost": _frost, "fog": _fog, "elastic_transform": _elastic}
    return special[name](draws) if name in special else {}


@contextmanager
def _answered(answers):
    with ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(mock.patch.object(np.random, name, answer))
        yield


def corrupt(module, name, image, draws, severity, row):
    """What the package makes of a uint8 image (height, width, 3) with given draws; `row`: numbers of that severity."""
    from PIL import Image

    with _answered(_answers(name, draws, row)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.uint8(getattr(module, name)(Image.fromarray(image), severity))


def elastic_rows(shape):
    """The package's own elastic transform in the terms of ours: it has smaller shifts, and no shear."""
    return [(250 * share * shape[0] * 0.005, 0.01, 0.0) for share in (0.05, 0.065, 0.085, 0.1, 0.12)]


def frost_textures(folder, shape):
    """Its textures, which it enlarges by a tenth and more."""
    import cv2

    from bnn_jax.evaluation.corruptions.frost import FILES

    textures = []
    for file in FILES:
        texture = cv2.imread(str(folder / file))[..., ::-1]
        scale = 1.1 * max(1, *(size / have for size, have in zip(shape, texture.shape[:2], strict=False)))
        size = [int(np.ceil(side * scale)) for side in texture.shape[1::-1]]
        textures.append(cv2.resize(texture, dsize=size, interpolation=cv2.INTER_CUBIC))
    return textures
