"""Trains the PyTorch twin of a method's ResNet-20 on CIFAR-10 by the recipe of 10 epochs: what accuracy to expect.

    python benchmarks/torch_accuracy.py --method siman --directory DIR --seed 0 --workdir runs/torch_siman0
    python benchmarks/torch_accuracy.py --method irnet --directory DIR --seed 0 --workdir runs/torch_irnet0

Data, order, augmentation and schedules are those of configs/cifar10/<method>_resnet20_10_epochs.py; network, gradients,
optimizer and evaluation are PyTorch's. As the released implementation does, SiMaN's evaluation clips the latent weights
too, in batches of 128. Prints accuracy on the whole test set and mean training loss after each epoch, and saves; the
same command continues after the last whole epoch. Option: --threads N.
"""

import argparse
import json
import math
import os
import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks import torch_irnet, torch_twin  # noqa: E402
from bnn_jax.config.file import load  # noqa: E402
from bnn_jax.data import augment, cifar10, example_keys, normalize, train_iterator  # noqa: E402

TEST_BATCH = 128


def to_torch(images, labels):
    """NHWC images and labels of any array type as tensors, NCHW."""
    return torch.tensor(np.asarray(images).transpose(0, 3, 1, 2).copy()), torch.tensor(np.asarray(labels, np.int64))


@torch.no_grad()
def accuracy(network, test, moments):
    """Share of right answers on the test set."""
    network.eval()
    right = 0
    for first in range(0, len(test.images), TEST_BATCH):
        part = slice(first, first + TEST_BATCH)
        images, labels = to_torch(normalize(jnp.asarray(test.images[part]), *moments), test.labels[part])
        right += int((network(images).argmax(1) == labels).sum())
    network.train()
    return right / len(test.images)


def siman(seed):
    """Network, optimiser, and what sets the network for a share of the run."""
    torch.manual_seed(seed)
    network = torch_twin.NETS["resnet20"]().train()
    return network, torch_twin.optimiser_of(network), lambda p: torch_twin.set_percentile(network, 15.0 * (1 - p))


def irnet(seed):
    """The same of IR-Net."""
    torch.manual_seed(seed)
    network = torch_irnet.ResNet20().train()
    return network, torch_irnet.optimiser_of(network), lambda p: torch_irnet.sharpen(network, 10.0 ** (4 * p - 3))


METHODS = {"siman": siman, "irnet": irnet}


def main() -> None:
    """Parses the command line, trains or continues, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=METHODS, default="siman")
    parser.add_argument("--directory", default="", help="where CIFAR-10 lies")
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    options.workdir.mkdir(parents=True, exist_ok=True)
    config = load(ROOT / "configs" / "cifar10" / f"{options.method}_resnet20_10_epochs.py")
    splits, size = cifar10(options.directory), config.data.batch_size
    moments = splits.info.mean, splits.info.std
    shown = {"crop_padding": config.data.crop_padding, "flip": config.data.flip, "mean": moments[0], "std": moments[1]}
    prepare = jax.jit(partial(augment, **shown))
    network, optimiser, set_progress = METHODS[options.method](options.seed)
    batches, key = train_iterator(splits.train, batch_size=size, seed=options.seed), jax.random.key(options.seed)
    saved, begin = options.workdir / "last.pt", 0
    if saved.is_file():
        state = torch.load(saved)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        batches.set_state(json.loads(state["batches"]))
        begin = state["epoch"]
    steps = len(splits.train) // size
    for epoch in range(begin, config.epochs):
        set_progress(epoch / config.epochs)
        for group in optimiser.param_groups:
            group["lr"] = 0.05 * (1 + math.cos(math.pi * epoch / config.epochs))
        losses = []
        for number in range(steps):
            batch = next(batches)
            images = prepare(example_keys(key, epoch * steps + number, 0, size), jnp.asarray(batch["image"]))
            losses.append(float(torch_twin.step(network, optimiser, *to_torch(images, batch["label"]))))
        found = {
            "epoch": epoch + 1,
            "accuracy": accuracy(network, splits.test, moments),
            "loss": float(np.mean(losses)),
        }
        with (options.workdir / "metrics.jsonl").open("a") as log:
            log.write(json.dumps(found) + "\n")
        print(found, flush=True)
        state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "epoch": epoch + 1}
        part = saved.with_suffix(".part")
        torch.save({**state, "batches": json.dumps(batches.get_state())}, part)
        os.replace(part, saved)


if __name__ == "__main__":
    main()
