"""The first steps of training beside the same network in PyTorch, in float64: loss by loss.

    python benchmarks/training_agreement.py --method siman --steps 20
    python benchmarks/training_agreement.py --method irnet --epoch 9

ResNet-20 as a method's recipe of 10 epochs trains it (projection, codes, scales, batch norm, masks of weight decay,
momentum), from the same initial values, on the same random images. The training step is the one train.py runs, but
for augmentation. What a method does by epoch is as in `--epoch` (0 to 9), but for the learning rate, which is the
first. In float32 two programs part within a few steps: a rounding flips a sign, and a flipped sign changes what
follows. In float64 that takes longer, and until then the losses agree to rounding, if both train the same.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ["JAX_ENABLE_X64"] = "1"
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks import torch_irnet, torch_twin  # noqa: E402
from benchmarks.train_step import images_and_labels, synthetic  # noqa: E402
from bnn_jax.config import component  # noqa: E402
from bnn_jax.config.file import load  # noqa: E402
from bnn_jax.losses import Term, cross_entropy  # noqa: E402
from bnn_jax.training import parallel  # noqa: E402
from bnn_jax.training.assembly import assemble, synchronized  # noqa: E402
from bnn_jax.training.experiment import Experiment  # noqa: E402
from bnn_jax.training.step import make_train_step  # noqa: E402

BLOCKS = [f"stage{stage}_block{block}" for stage in (1, 2, 3) for block in (1, 2, 3)]


def doubled(tree):
    """The tree with its floating-point arrays as float64."""
    return jax.tree.map(lambda v: v.astype(jnp.float64) if jnp.issubdtype(v.dtype, jnp.floating) else v, tree)


def initial_params(params, weights):
    """`params` with the twin's initial values; what starts from constants is the same in both."""
    params = jax.tree.map(np.asarray, params)

    def kernel(name):
        return weights[name].transpose(2, 3, 1, 0)

    params["stem_conv"]["kernel"] = kernel("stem.weight")
    for i, block in enumerate(BLOCKS):
        for conv in ("conv1", "conv2"):
            params[block][conv]["kernel"] = kernel(f"blocks.{i}.{conv}.weight")
            if "scale" in params[block][conv]:
                params[block][conv]["scale"] = weights[f"blocks.{i}.{conv}.alpha"].ravel()
    params["classifier"] = {"kernel": weights["fc.weight"].T, "bias": weights["fc.bias"]}
    return jax.tree.map(jnp.asarray, params)


def siman_twin(progress, rate):
    """SiMaN's network and step in PyTorch; its percentile falls from 15 to 0."""
    network, step = torch_twin.build("resnet20", lr=rate)
    torch_twin.set_percentile(network, 15.0 * (1 - progress))
    return network, step


def irnet_twin(progress, rate):
    """IR-Net's; its estimator sharpens from 0.001 to 10."""
    network, step = torch_irnet.build(lr=rate)
    torch_irnet.sharpen(network, 10.0 ** (4 * progress - 3))
    return network, step


TWINS = {"siman": siman_twin, "irnet": irnet_twin}


def step_of(experiment: Experiment):
    """The training step of an experiment, on images as they are."""
    return parallel.parallelize(
        make_train_step(
            synchronized(experiment.model),
            experiment.optimizer,
            [Term("cross_entropy", cross_entropy())],
            experiment.layers,
            lambda key, step, first, images: images,
            key=jax.random.key(0),
            epochs=experiment.config.epochs,
            steps_per_epoch=experiment.steps_per_epoch,
        ),
        donate=True,
    )


def main() -> None:
    """Parses the command line, trains both, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=TWINS, default="siman")
    parser.add_argument("--epoch", type=int, default=0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    if not 1 <= options.steps * options.batch <= 50_000 or not 0 <= options.epoch <= 9:
        parser.error("expected 1 or more steps of 50,000 images at most, and an epoch from 0 to 9")
    config = load(ROOT / "configs" / "cifar10" / f"{options.method}_resnet20_10_epochs.py")
    config.data.source, config.data.batch_size = component(synthetic), options.batch
    if options.method == "siman":
        config.model.weights.code_rule = "median"  # as the twin, and the release
    experiment = assemble(config)
    # The rate as it is here, in float32.
    rate, progress = float(np.float32(config.optimizer.learning_rate)), options.epoch / config.epochs
    network, torch_step = TWINS[options.method](progress, rate)
    network.double()
    weights = {name: value.numpy().copy() for name, value in network.state_dict().items()}
    state = experiment.init_state()
    first = jnp.asarray(options.epoch * experiment.steps_per_epoch, jnp.int64)  # makes progress float64
    state = doubled(state.replace(step=first, params=initial_params(state.params, weights)))
    state, jax_step = parallel.replicate(state), step_of(experiment)
    images, labels = images_and_labels(options.steps * options.batch)
    for number in range(options.steps):
        part = slice(number * options.batch, (number + 1) * options.batch)
        batch = images[part] / 127.5 - 1
        theirs = float(torch_step(torch.tensor(batch.transpose(0, 3, 1, 2).copy()), torch.tensor(labels[part])))
        state, metrics = jax_step(state, parallel.split({"image": batch, "label": labels[part].astype(np.int32)}))
        ours = float(np.asarray(metrics.loss).reshape(-1)[0])
        print(f"step {number + 1:3}  PyTorch {theirs:.12f}  bnn_jax {ours:.12f}  difference {ours - theirs:+.1e}")


if __name__ == "__main__":
    main()
