"""Runs whose networks were never trained, and what is asked of them."""

import jax
import numpy as np

from bnn_jax.data import ArraySource, normalize
from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.robustness.request import Request
from bnn_jax.training import workdir
from bnn_jax.training.assembly import assemble
from bnn_jax.training.checkpoint import Bookkeeping, Checkpoints
from tests.training import toy

NAMES = ("impulse_noise", "contrast", "jpeg_compression")
REQUEST = Request(leave_out=tuple(name for name in corruptions.ALL if name not in NAMES))


def logits_of(variables, images, **changes):
    """Of the whole test set in one piece."""
    experiment = assemble(toy.config(**changes))
    info = experiment.splits.info
    return jax.jit(experiment.model.apply)(variables, normalize(images, info.mean, info.std))[0]


def undecided(seed, **changes):
    """A network that was never trained; its bias is such that what it says depends on the image."""
    experiment = assemble(toy.config(seed=seed, **changes))
    state = experiment.init_state()
    classifier = dict(state.params["classifier"])
    classifier["bias"] -= logits_of(state.variables, experiment.splits.test.images, **changes).mean(0)
    return state.replace(params={**state.params, "classifier": classifier})


def run(folder, seed=0, step=10, **changes):
    """Folder of a run that was never trained."""
    folder.mkdir(exist_ok=True)
    workdir.claim(folder, toy.config(**changes))
    checkpoints = Checkpoints(folder)
    in_memory = isinstance(assemble(toy.config(**changes)).splits.test, ArraySource)
    state = undecided(seed, **changes) if in_memory else assemble(toy.config(**changes)).init_state()
    checkpoints.save(state.replace(step=np.asarray(step, np.int32)), Bookkeeping(), 0.3)
    checkpoints.close()
    return folder
