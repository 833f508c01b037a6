"""Data: sources in memory or on disk, batches in a reproducible order, augmentation on the device.

splits = cifar10()
batches = train_iterator(splits.train, batch_size=128, seed=0)
keys = example_keys(jax.random.key(0), step, 0, 128)
x = augment(keys, next(batches)["image"], crop_padding=4, flip=True, mean=info.mean, std=info.std)
"""

from bnn_jax.data.augment import augment, example_keys, normalize, random_crop, random_flip
from bnn_jax.data.cifar import cifar10
from bnn_jax.data.digits import digits
from bnn_jax.data.image_folder import image_folder
from bnn_jax.data.imagenet import imagenet
from bnn_jax.data.in_memory import from_arrays
from bnn_jax.data.outline import Absent, NowhereError, outline_of
from bnn_jax.data.pipeline import eval_batches, steps_per_epoch, train_iterator
from bnn_jax.data.source import ArraySource, DatasetInfo, Source, Splits, array_source
from bnn_jax.data.tfds_source import tfds_images

__all__ = [
    "Absent",
    "ArraySource",
    "DatasetInfo",
    "NowhereError",
    "Source",
    "Splits",
    "array_source",
    "augment",
    "cifar10",
    "digits",
    "eval_batches",
    "example_keys",
    "from_arrays",
    "image_folder",
    "imagenet",
    "normalize",
    "outline_of",
    "random_crop",
    "random_flip",
    "steps_per_epoch",
    "tfds_images",
    "train_iterator",
]
