"""Common corruptions of images, from their definitions: noise, blur, weather, and what storing does to an image.

from bnn_jax.evaluation import corruptions
foggy = corruptions.fog(jax.random.key(0), images, severity=3)
foggy = corruptions.fog(jax.random.key(0), images, severity=3, variant="cifar10_c")

Those of ImageNet-C and CIFAR-10-C (Hendrycks and Dietterich, ICLR 2019, arXiv 1903.12261), each with its severities.
All run under jit, vmap and pmap and on every device; JPEG calls Pillow on the host. A corruption is a record that can
be called (`Corruption`); its file has the mathematics.
"""

from types import MappingProxyType

from bnn_jax.evaluation.corruptions.blur import defocus_blur, gaussian_blur, zoom_blur
from bnn_jax.evaluation.corruptions.elastic import elastic_transform
from bnn_jax.evaluation.corruptions.fog import fog
from bnn_jax.evaluation.corruptions.frost import frost, frost_of
from bnn_jax.evaluation.corruptions.glass import glass_blur
from bnn_jax.evaluation.corruptions.motion import motion_blur
from bnn_jax.evaluation.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from bnn_jax.evaluation.corruptions.pixels import jpeg_compression, pixelate
from bnn_jax.evaluation.corruptions.record import Corruption
from bnn_jax.evaluation.corruptions.severities import CIFAR10_C, IMAGENET_C, SEVERITIES, VARIANTS
from bnn_jax.evaluation.corruptions.snow import snow
from bnn_jax.evaluation.corruptions.spatter import spatter
from bnn_jax.evaluation.corruptions.tone import brightness, contrast, saturate

# Those that the mean is over, in the order of the paper, and those kept aside for choosing hyperparameters.
COMMON = MappingProxyType(
    {
        corruption.name: corruption
        for corruption in (
            gaussian_noise,
            shot_noise,
            impulse_noise,
            defocus_blur,
            glass_blur,
            motion_blur,
            zoom_blur,
            snow,
            frost,
            fog,
            brightness,
            contrast,
            elastic_transform,
            pixelate,
            jpeg_compression,
        )
    }
)
EXTRA = MappingProxyType({c.name: c for c in (speckle_noise, gaussian_blur, spatter, saturate)})
ALL = MappingProxyType({**COMMON, **EXTRA})

__all__ = [
    "ALL",
    "CIFAR10_C",
    "COMMON",
    "EXTRA",
    "IMAGENET_C",
    "SEVERITIES",
    "VARIANTS",
    "Corruption",
    "brightness",
    "contrast",
    "defocus_blur",
    "elastic_transform",
    "fog",
    "frost",
    "frost_of",
    "gaussian_blur",
    "gaussian_noise",
    "glass_blur",
    "impulse_noise",
    "jpeg_compression",
    "motion_blur",
    "pixelate",
    "saturate",
    "shot_noise",
    "snow",
    "spatter",
    "speckle_noise",
    "zoom_blur",
]
