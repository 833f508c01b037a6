"""What the severities 1 to 5 mean: the published numbers of ImageNet-C and of CIFAR-10-C, which differ.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019,
arXiv 1903.12261, and the programs released with it. Each corruption's file says what its numbers are. Sizes in
ImageNet-C's elastic transform are those of 224 x 224 images (its authors wrote 244), in CIFAR-10-C's of 32 x 32.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

IMAGENET_C, CIFAR10_C = "imagenet_c", "cifar10_c"
SEVERITIES = (1, 2, 3, 4, 5)

Row = tuple[float, ...]
Rows = tuple[Row, ...]


def _rows(*values: float | Row) -> Rows:
    assert len(values) == len(SEVERITIES)
    return tuple(value if isinstance(value, tuple) else (value,) for value in values)


_IMAGENET_C = {
    "gaussian_noise": _rows(0.08, 0.12, 0.18, 0.26, 0.38),
    "shot_noise": _rows(60, 25, 12, 5, 3),
    "impulse_noise": _rows(0.03, 0.06, 0.09, 0.17, 0.27),
    "defocus_blur": _rows((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    "glass_blur": _rows((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    "motion_blur": _rows((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    "zoom_blur": _rows((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    "snow": _rows(
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    "frost": _rows((1, 0.4, 1), (0.8, 0.6, 1), (0.7, 0.7, 1), (0.65, 0.7, 1), (0.6, 0.75, 1)),
    "fog": _rows((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    "brightness": _rows(0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": _rows(0.4, 0.3, 0.2, 0.1, 0.05),
    "elastic_transform": _rows(
        (244 * 2, 244 * 0.7, 244 * 0.1),
        (244 * 2, 244 * 0.08, 244 * 0.2),
        (244 * 0.05, 244 * 0.01, 244 * 0.02),
        (244 * 0.07, 244 * 0.01, 244 * 0.02),
        (244 * 0.12, 244 * 0.01, 244 * 0.02),
    ),
    "pixelate": _rows(0.6, 0.5, 0.4, 0.3, 0.25),
    "jpeg_compression": _rows(25, 18, 15, 10, 7),
    "speckle_noise": _rows(0.15, 0.2, 0.35, 0.45, 0.6),
    "gaussian_blur": _rows(1, 2, 3, 4, 6),
    "spatter": _rows(
        (0.65, 0.3, 4, 0.69, 0.6, 0),
        (0.65, 0.3, 3, 0.68, 0.6, 0),
        (0.65, 0.3, 2, 0.68, 0.5, 0),
        (0.65, 0.3, 1, 0.65, 1.5, 1),
        (0.67, 0.4, 1, 0.65, 1.5, 1),
    ),
    "saturate": _rows((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
}

_CIFAR10_C = {
    "gaussian_noise": _rows(0.04, 0.06, 0.08, 0.09, 0.10),
    "shot_noise": _rows(500, 250, 100, 75, 50),
    "impulse_noise": _rows(0.01, 0.02, 0.03, 0.05, 0.07),
    "defocus_blur": _rows((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    "glass_blur": _rows((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    "motion_blur": _rows((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    "zoom_blur": _rows((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    "snow": _rows(
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    "frost": _rows((1, 0.2, 0.2), (1, 0.3, 0.2), (0.9, 0.4, 0.2), (0.85, 0.4, 0.2), (0.75, 0.45, 0.2)),
    "fog": _rows((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    "brightness": _rows(0.05, 0.1, 0.15, 0.2, 0.3),
    "contrast": _rows(0.75, 0.5, 0.4, 0.3, 0.15),
    "elastic_transform": _rows(
        (0, 0, 32 * 0.08),
        (32 * 0.05, 32 * 0.2, 32 * 0.07),
        (32 * 0.08, 32 * 0.06, 32 * 0.06),
        (32 * 0.1, 32 * 0.04, 32 * 0.05),
        (32 * 0.1, 32 * 0.03, 32 * 0.03),
    ),
    "pixelate": _rows(0.95, 0.9, 0.85, 0.75, 0.65),
    "jpeg_compression": _rows(80, 65, 58, 50, 40),
    "speckle_noise": _rows(0.06, 0.1, 0.12, 0.16, 0.2),
    "gaussian_blur": _rows(0.4, 0.6, 0.7, 0.8, 1),
    "spatter": _rows(
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    ),
    "saturate": _rows((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
}

VARIANTS: Mapping[str, Mapping[str, Rows]] = MappingProxyType(
    {IMAGENET_C: MappingProxyType(_IMAGENET_C), CIFAR10_C: MappingProxyType(_CIFAR10_C)}
)


def rows_of(variant: str, name: str) -> Rows:
    """The numbers of a corruption at severities 1 to 5.

    Raises:
      ValueError: If there is no such variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"expected variant to be one of {sorted(VARIANTS)}, found {variant!r}")
    return VARIANTS[variant][name]
