"""What the Python package imagecorruptions makes of one small image, kept so that tests compare with it everywhere.

    pip install -e '.[bench]'
    python benchmarks/corruption_golden.py --frost frost/

Writes tests/evaluation/corruptions/golden.npz: for each of the 19 corruptions and each of ImageNet-C's severities every
ninth pixel of an image of 72 x 72, made by the package with the draws of `Corruption.draw`; and the part of a frost
texture that was added. To be made again if JAX draws otherwise; `corruption_agreement.py` says what is compared.

Options: --frost DIR (ImageNet-C's textures).
"""

import argparse
import importlib.util
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

GOLDEN = ROOT / "tests" / "evaluation" / "corruptions" / "golden.npz"
# Of this side the package zooms snow as ImageNet-C's program does, and no streak is longer.
SIDE = 72
SAMPLE = (slice(4, None, 9), slice(4, None, 9))


def picture() -> np.ndarray:
    """Slow colours with noise, by whole-number arithmetic but for the sine: uint8 (72, 72, 3)."""
    rows, columns, channels = np.mgrid[:SIDE, :SIDE, :3]
    slow = np.sin(rows / 9 + channels) * np.cos(columns / (7 + channels)) / 2 + 0.5
    noise = ((rows * 7919 + columns * 104729 + channels * 1299709) * 2654435761 >> 16) % 41 - 20
    return np.uint8(np.clip(np.round(255 * slow) + noise, 0, 255))


def draws_of(name: str):
    """What chance decides, for all severities."""
    import jax

    from bnn_jax.evaluation import corruptions

    return corruptions.ALL[name].draw(jax.random.key(0), (SIDE, SIDE, 3))


def frost_part(folder: Path) -> np.ndarray:
    """The pixels of the texture that are added to those which are kept, the others 0: uint8 (72, 72, 3)."""
    from tests.reference import imagecorruptions

    textures = imagecorruptions.frost_textures(folder, (SIDE, SIDE, 3))
    which, *shares = np.asarray(draws_of("frost"))
    texture = textures[int(np.floor(which * len(textures)))]
    top, left = (int(np.floor(share * (size - SIDE))) for share, size in zip(shares, texture.shape, strict=False))
    part = np.zeros((SIDE, SIDE, 3), np.uint8)
    part[SAMPLE] = texture[top : top + SIDE, left : left + SIDE][SAMPLE]
    return part


def main() -> None:
    """Parses the command line, runs the package, writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frost", type=Path, required=True)
    options = parser.parse_args()
    if importlib.util.find_spec("imagecorruptions") is None:
        sys.exit("imagecorruptions is not installed: pip install -e '.[bench]'")
    import jax

    from bnn_jax.evaluation import corruptions
    from tests.reference import imagecorruptions
    from tests.reference.severities import IMAGENET_C

    module, image, arrays = imagecorruptions.load(), picture(), {"frost_part": frost_part(options.frost)}
    for name in corruptions.ALL:
        draws = jax.tree.map(np.asarray, draws_of(name))
        rows = [np.atleast_1d(row).tolist() for row in IMAGENET_C[name]]
        made = [imagecorruptions.corrupt(module, name, image, draws, s, rows[s - 1]) for s in corruptions.SEVERITIES]
        arrays[name] = np.stack(made)[:, *SAMPLE]
        print(name, flush=True)
    np.savez_compressed(GOLDEN, **arrays)


if __name__ == "__main__":
    main()
