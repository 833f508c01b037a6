"""Images per second of bnn_jax.evaluation.corruptions beside the Python package imagecorruptions.

    pip install -e '.[bench]'
    python benchmarks/corruption_speed.py
    python benchmarks/corruption_speed.py --images 500 --rounds 5 --names fog snow

Both corrupt the same images of CIFAR-10's size (random, smoothed: what is in them does not matter) with the same 15
corruptions at the same severities 1 to 5, ImageNet-C's, which the package has; a third side does so with CIFAR-10-C's.
They take turns, corruption by corruption and round by round. The package is one process on one core; JAX uses the cores
there are. Beside the time on the clock is that on the cores, which other work on the machine changes less.

The last line is the whole suite of 75 x 10,000 images: the sum over corruptions of time per image, as a ratio.

Options: --images N (per batch of ours), --package_images N (it is slow), --rounds N, --side PIXELS, --names NAMES.
"""

import argparse
import importlib.util
import statistics
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def pictures(count: int, side: int) -> np.ndarray:
    """Random smooth images, uint8 (count, side, side, 3)."""
    rng = np.random.default_rng(0)
    coarse = rng.random((count, 5, 5, 3))
    places = np.linspace(0, 4, side)
    low = np.minimum(places.astype(int), 3)
    share = (places - low)[:, None]
    rows = coarse[:, low] * (1 - share)[None, :, None] + coarse[:, low + 1] * share[None, :, None]
    images = rows[:, :, low] * (1 - share)[None, None] + rows[:, :, low + 1] * share[None, None]
    return np.uint8(255 * images)


def timed(work) -> tuple[float, float]:
    """Seconds on the clock and on the cores, of this process."""
    clock, cores = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - cores


def package_side(name: str, images: np.ndarray):
    """Corrupts images one by one, at all severities."""
    from PIL import Image

    from tests.reference import imagecorruptions

    function = getattr(imagecorruptions.load(), name)

    def work() -> None:
        for image in images:
            for severity in (1, 2, 3, 4, 5):
                np.uint8(function(Image.fromarray(image), severity))

    return work


def our_side(name: str, images: np.ndarray, variant: str):
    """Corrupts a batch, at all severities."""
    import jax

    from bnn_jax.evaluation import corruptions
    from bnn_jax.evaluation.corruptions import record

    corruption = corruptions.ALL[name]
    if corruption.host is not None:
        constants = record.tables(corruption, variant, images.shape[1:])
        return lambda: [corruption.host(images, record.at(constants, s)) for s in corruptions.SEVERITIES]
    keys = jax.random.split(jax.random.key(0), len(images))
    on_device = jax.device_put(images)

    def work() -> None:
        jax.block_until_ready([corruption(keys, on_device, s, variant) for s in corruptions.SEVERITIES])

    return work


def main() -> None:
    """Parses the command line, takes turns, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--package_images", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--names", nargs="+", default=[])
    options = parser.parse_args()
    if importlib.util.find_spec("imagecorruptions") is None:
        sys.exit("imagecorruptions is not installed: pip install -e '.[bench]'")
    import warnings

    warnings.simplefilter("ignore")  # the package's, about the libraries it uses
    from bnn_jax.evaluation import corruptions
    from bnn_jax.evaluation.corruptions.frost import has_textures

    images = pictures(options.images, options.side)
    few = images[: options.package_images]
    print("microseconds per image, mean over severities 1 to 5: clock (cores); ratio = package / ours")
    head = ("corruption", "package", "ours", "ours, cifar10_c", "ratio", "ratio, cores")
    print(f"{head[0]:18s}", *(f"{word:>22s}" for word in head[1:]))
    total = np.zeros((3, 2))
    for name in options.names or corruptions.COMMON:
        ours = "cifar10_c" if name == "frost" and not has_textures() else "imagenet_c"
        sides = [package_side(name, few), our_side(name, images, ours), our_side(name, images, "cifar10_c")]
        counts = [len(few), len(images), len(images)]
        for work in sides[1:]:
            work()  # compiles
        rounds = [[timed(work) for work in sides] for _ in range(options.rounds)]
        per_image = np.array([
            [statistics.median(r[i][kind] for r in rounds) / counts[i] / 5 * 1e6 for kind in (0, 1)] for i in range(3)
        ])  # fmt: skip
        total += per_image
        show(name, per_image)
    show("sum", total)


def show(name: str, times: np.ndarray) -> None:
    """Prints a row: (sides, clock and cores) in microseconds."""
    cells = [f"{clock:,.0f} ({cores:,.0f})" for clock, cores in times]
    ratios = [f"{ratio:.1f}" for ratio in times[0] / times[1]]
    print(f"{name:18s}", *(f"{cell:>22s}" for cell in (*cells, *ratios)), flush=True)


if __name__ == "__main__":
    main()
