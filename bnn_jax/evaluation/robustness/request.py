"""What is to be measured, as a user asks for it."""

from __future__ import annotations

from dataclasses import dataclass

from bnn_jax.config.component import nearest
from bnn_jax.evaluation import corruptions

GENERATED, SUITES = "corruptions", ("corruptions", "cifar10_c", "imagenet_c")
MEMORY, JPEG85 = "memory", "jpeg85"


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes:
      suite: "corruptions", made from the run's own test set, or a published set: "cifar10_c", "imagenet_c".
      images: folder of the published set.
      leave_out: names of corruptions not to measure; a mean without them says so. What was measured of them before
        stays in the files and in the means.
      checkpoint: "best" or "last".
      data: where the run's own data lies now, if it was moved.
      seed: of what chance decides in generated images; published ones have none.
      stored: how generated images reach the network: as they are in "memory", or as ImageNet-C's do: written as JPEG
        of quality 85 ("jpeg85") and read again.

    Raises:
      ValueError: if there is no such suite, corruption or way to store, or a published set has no folder, or a seed.
    """

    suite: str = GENERATED
    images: str = ""
    leave_out: tuple[str, ...] = ()
    checkpoint: str = "best"
    data: str = ""
    seed: int = 0
    stored: str = MEMORY

    def __post_init__(self) -> None:
        if self.suite not in SUITES:
            raise ValueError(f"expected a suite of {SUITES}, found {self.suite!r}")
        unknown = [name for name in self.leave_out if name not in corruptions.ALL]
        if unknown:
            raise ValueError(
                f"expected corruptions to leave out of {', '.join(corruptions.ALL)}; found {unknown[0]!r}"
                f"{nearest(unknown[0].strip().lower(), list(corruptions.ALL))}"
            )
        if not self.names:
            raise ValueError("expected a corruption to measure, found that all of them are left out")
        if (self.suite == GENERATED) == bool(self.images):
            raise ValueError(
                f"--suite {self.suite} makes its images from the run's own test set: leave --data out"
                if self.images
                else f"--suite {self.suite} needs the folder of its images: --data DIR"
            )
        if self.suite != GENERATED and self.seed != 0:
            raise ValueError(
                f"--seed is of what chance decides in generated images: leave it out, the images of {self.suite} are "
                f"published; found {self.seed}"
            )
        if self.stored not in (MEMORY, JPEG85) or (self.suite != GENERATED and self.stored != MEMORY):
            raise ValueError(
                f"expected {MEMORY!r} or {JPEG85!r} for generated images (--stored), {MEMORY!r} for published ones, "
                f"which are stored; found {self.stored!r}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The corruptions to measure."""
        return tuple(name for name in corruptions.ALL if name not in self.leave_out)

    @property
    def stem(self) -> str:
        """What its files are named: the suite, and what is not the usual.

        What is left out is no part of it: requests that differ in that alone add to the same files. Only a measurement
        of other weights or images takes another's place.
        """
        parts = {
            "last": self.checkpoint != "best",
            f"seed{self.seed}": self.seed != 0,
            self.stored: self.stored != MEMORY,
        }
        return "_".join([self.suite, *(part for part, unusual in parts.items() if unusual)])
