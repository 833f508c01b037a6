"""Pixels of bnn_jax.evaluation.corruptions beside those of the Python package imagecorruptions, for the same draws.

    pip install -e '.[bench]'
    python benchmarks/corruption_agreement.py --images photographs/ --frost frost/ --count 20

For each of the 19 corruptions and each severity: the mean absolute difference in steps of 1/255, and the PSNR in dB
over all images, cut to squares and resized to --side pixels. Both get the same draws, so that what is left is
arithmetic. Where the package departs from the programs that made ImageNet-C, ours follow those. What it does otherwise
is done to ours too before they are compared: its own elastic transform, frost textures enlarged by a tenth, motion blur
cut to whole numbers where ImageMagick rounds, flakes of snow not cut to 8 bits before they are blurred. It also cuts
snow off at one end where those programs cut both (the same for sides like 72 and 224, where no more than a pixel is
cut), and drops a streak's rest where it would have left an image that begins with it (longer than 40 pixels: none).

What is left are whole numbers: both cut to whole steps, and what should be whole may fall below in the package's
float64 (OpenCV's float32), where ours adds 2^-12 of a step. Values that should be whole are common in means over few
pixels (disk, streak, glass) and in saturation by a factor of 2. `BANDS` holds what is allowed: one step at one pixel in
ten (in four, for saturate), one in twenty elsewhere; for spatter, whose drops are equalized by rank, a few pixels of
more; for snow the border, where streaks see the row that was cut.

Options: --images DIR (any images below it), --count N, --side PIXELS, --frost DIR, --json FILE.
"""

import argparse
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# Most mean difference in steps of 1 / 255, least PSNR in dB.
BANDS = {
    **dict.fromkeys(["defocus_blur", "glass_blur", "motion_blur"], (0.1, 58.0)),
    "saturate": (0.25, 54.0),
    "snow": (0.25, 40.0),
    "spatter": (0.1, 50.0),
}
USUAL = (0.05, 60.0)


class Agreement(NamedTuple):
    """How near the two are: mean absolute difference in steps of 1/255, PSNR in dB (at most 99), largest difference."""

    severity: int
    difference: float
    psnr: float
    largest: int


def constants_of(name: str, shape: tuple[int, int, int], frost: Path):
    """Constants of our function for what the package does, all severities."""
    from bnn_jax.evaluation import corruptions
    from bnn_jax.evaluation.corruptions import linear, record
    from bnn_jax.evaluation.corruptions.elastic import Elastic
    from bnn_jax.evaluation.corruptions.frost import pack
    from tests.reference import imagecorruptions

    rows = corruptions.VARIANTS["imagenet_c"][name]
    if name == "frost":
        return pack(rows, imagecorruptions.frost_textures(frost, shape))
    if name == "elastic_transform":
        rows = imagecorruptions.elastic_rows(shape)
        smoothing = [
            np.stack([linear.gaussian(n, 0.01 * n, linear.reflect, 3.0)] * 5).astype(np.float32) for n in shape[:2]
        ]
        return Elastic(record.column(rows, 0), tuple(smoothing), record.column(rows, 2))
    return corruptions.ALL[name].prepare(rows, shape)


def apply_of(name: str):
    """`apply` of our function, without what the released programs do and the package does not."""
    from bnn_jax.evaluation import corruptions
    from bnn_jax.evaluation.corruptions.motion import blur
    from bnn_jax.evaluation.corruptions.snow import fall, flakes_of

    departures = {
        "motion_blur": blur,
        "snow": lambda x, draws, constants: fall(x, flakes_of(draws[0], constants), draws[1], constants),
    }
    return departures.get(name, corruptions.ALL[name].apply)


def agreement(name: str, images, key, frost: Path) -> Iterator[Agreement]:
    """Compares the two on uint8 images (side, side, 3), severity by severity."""
    import jax
    import jax.numpy as jnp

    from bnn_jax.evaluation import corruptions
    from bnn_jax.evaluation.corruptions import record
    from tests.reference import imagecorruptions

    module, corruption = imagecorruptions.load(), corruptions.ALL[name]
    shape, rows = images[0].shape, corruptions.VARIANTS["imagenet_c"][name]
    constants, apply = constants_of(name, shape, frost), apply_of(name)

    @jax.jit
    def ours(image, draws, constants):
        return record.to_bytes(jnp.clip(apply(image / 255.0, draws, constants), 0, 1))

    for severity in corruptions.SEVERITIES:
        differences = []
        for i, image in enumerate(images):
            draws = corruption.draw(jax.random.fold_in(key, i), shape)
            found = np.asarray(ours(image.astype(np.float32), draws, record.at(constants, severity)))
            plain = jax.tree.map(np.asarray, draws)
            theirs = imagecorruptions.corrupt(module, name, image, plain, severity, rows[severity - 1])
            differences.append(np.abs(found - theirs))
        off = np.stack(differences)
        square = np.mean(off**2)
        psnr = min(99.0, 10 * np.log10(255**2 / square)) if square else 99.0
        yield Agreement(severity, float(off.mean()), float(psnr), int(off.max()))


def photographs(folder: Path, count: int, side: int) -> list[np.ndarray]:
    """The first images below a folder, their middle squares resized."""
    from PIL import Image, ImageOps

    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))[:count]
    if not paths:
        sys.exit(f"{folder}: expected images, found none")
    return [np.asarray(ImageOps.fit(Image.open(path).convert("RGB"), (side, side))) for path in paths]


def main() -> None:
    """Parses the command line, compares, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--frost", type=Path, required=True)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--json", default="")
    options = parser.parse_args()
    if importlib.util.find_spec("imagecorruptions") is None:
        sys.exit("imagecorruptions is not installed: pip install -e '.[bench]'")
    import jax

    from bnn_jax.evaluation import corruptions

    images = photographs(options.images, options.count, options.side)
    print(
        f"{len(images)} images of {options.side} x {options.side}: mean difference (of 255) / PSNR, severities 1 to 5"
    )
    table = {}
    for name in corruptions.ALL:
        table[name] = list(agreement(name, images, jax.random.key(0), options.frost))
        print(f"{name:18s}", *(f"{found.difference:6.3f} / {found.psnr:4.1f}" for found in table[name]), flush=True)
    if options.json:
        content = {name: [found._asdict() for found in row] for name, row in table.items()}
        Path(options.json).write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
