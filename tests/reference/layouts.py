"""From the papers' layouts (channels first) to the library's (channels last)."""

import numpy as np


def hwio(w):
    """(out, in, kh, kw) to (kh, kw, in, out)."""
    return np.transpose(w, (2, 3, 1, 0))


def nhwc(x):
    """(batch, channels, height, width) to (batch, height, width, channels)."""
    return np.transpose(x, (0, 2, 3, 1))
