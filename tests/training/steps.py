"""A small network, its training step over a mapped axis that `jax.vmap` provides, and batches for it."""

from functools import cache, partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bnn_jax import losses, ste
from bnn_jax.binarizers import WeightBinarizer, siman_activations
from bnn_jax.binarizers.base import Binary
from bnn_jax.inspect import binary_layers, trace_layers
from bnn_jax.training.assembly import synchronized
from bnn_jax.training.state import init_state
from bnn_jax.training.step import AXIS, make_train_step
from tests.training import toy

EPOCHS, STEPS = 4, 3  # of each epoch
RATE = 0.5
IMAGE = (6, 6, 2)
CROSS_ENTROPY = losses.Term("cross_entropy", losses.cross_entropy())


def scale_pixels(key, step, first, images):
    """Stands for augmentation: no chance in it; images of 255 throughout become NaN."""
    del key, step, first
    return jnp.where(jnp.min(images) == 255, jnp.nan, images.astype(jnp.float32) / 128 - 1)


@cache  # compiling is what takes time here
def train_setup(weights=None, *, terms=(CROSS_ENTROPY,), rate=RATE, augment=scale_pixels, model=None):
    model = model or toy.network(3, weights=weights, activations=siman_activations())
    transform = optax.sgd(rate, 0.9)
    layers = binary_layers(trace_layers(model, IMAGE))
    step = make_train_step(
        synchronized(model),
        transform,
        terms,
        layers,
        augment,
        key=jax.random.key(5),
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
    )
    state = jax.jit(partial(init_state, model, transform, image_shape=IMAGE))(jax.random.key(0))
    # The outputs must not depend on the mapped axis: vmap refuses if one was not reduced over it.
    mapped = jax.jit(jax.vmap(step, in_axes=(None, 0), out_axes=None, axis_name=AXIS))
    return SimpleNamespace(model=model, layers=layers, state=state, step=mapped, unmapped=step)


def batch(seed=0, examples=8, parts=1):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 255, (examples, *IMAGE), dtype=np.uint8)
    labels = rng.integers(0, 3, examples).astype(np.int32)
    return {"image": images.reshape(parts, -1, *IMAGE), "label": labels.reshape(parts, -1)}


def poisoned():
    made = batch()
    return {**made, "image": np.full_like(made["image"], 255)}


def assert_equal(found, expected):
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))


class Recorder:
    """A binarizer that writes down all it is given, and how often it was traced."""

    def __init__(self, weight=0.25):
        self.traces = {"penalty": 0, "project": 0, "update": 0}
        self.weight = weight

    def record(self):
        return WeightBinarizer(
            "recorder", self.quantize, self.init_params, self.init_memory, self.project, self.penalty, self.update
        )

    def quantize(self, w, params, memory, *, train, progress):
        return Binary(ste.sign(w, ste.clip), params["scale"]), {**memory, "seen": w}

    def init_params(self, w):
        return {"scale": jnp.ones(w.shape[-1])}

    def init_memory(self, w):
        names = ("seen", "old", "new", "grad")
        scales = {name: jnp.zeros(w.shape[-1]) for name in ("old_scale", "new_scale", "grad_scale")}
        return {**{name: jnp.zeros_like(w) for name in names}, **scales, "updates": jnp.zeros((), jnp.int32)}

    def project(self, w, *, progress):
        self.traces["project"] += 1
        return w * (0.5 + progress)

    def penalty(self, w, params, memory, *, progress):
        self.traces["penalty"] += 1
        return self.weight * jnp.sum(w**2) + 0.0 * params["scale"].sum() + progress

    def update(self, memory, old, new, grads):
        self.traces["update"] += 1
        return {
            "seen": memory["seen"],
            **{"old": old[0], "new": new[0], "grad": grads[0]},
            **{"old_scale": old[1]["scale"], "new_scale": new[1]["scale"], "grad_scale": grads[1]["scale"]},
            "updates": memory["updates"] + 1,
        }


def zero(o):
    """A term without a gradient anywhere."""
    return 0.0 * jnp.sum(o.logits)
