"""What a measurement is of: a run's network, the images, and the settings that tell it from others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.corruptions.record import tables
from bnn_jax.evaluation.robustness import cifar10_c, imagenet_c
from bnn_jax.evaluation.robustness.generated import Generated
from bnn_jax.evaluation.robustness.identity import beside_alexnet, caveat, checksum
from bnn_jax.evaluation.robustness.parts import Suite
from bnn_jax.evaluation.robustness.published import check_folder
from bnn_jax.evaluation.robustness.request import GENERATED, JPEG85, MEMORY, Request
from bnn_jax.evaluation.runs import load
from bnn_jax.training.examples import open_splits
from bnn_jax.training.experiment import Experiment

_PUBLISHED = {"cifar10_c": cifar10_c, "imagenet_c": imagenet_c}
# Larger images are taken for photographs.
_SMALL_SIDE = 64


@dataclass(frozen=True, eq=False)
class Prepared:
    """All that measuring takes.

    Attributes:
      experiment: the run's.
      variables: of the network, on the host.
      suite: the images.
      settings: what makes the measurement what it is, as JSON has it.
    """

    experiment: Experiment
    variables: Any
    suite: Suite
    settings: dict[str, Any]


def prepare(workdir: Path, request: Request) -> Prepared:
    """Opens a run and the images it is to be measured on; measures nothing.

    Args:
      workdir: folder of the run.
      request: what to measure.

    Raises:
      FileNotFoundError: if `workdir` is not the folder of a run, or data or textures are not there.
      ValueError: if there is no checkpoint, or the data does not fit the network.
    """
    # Published images can be measured without the run's own, whose error is then not known.
    find = partial(open_splits, dry=request.suite != GENERATED)
    experiment, state = load(workdir, request.checkpoint, request.data, find)
    info = experiment.splits.info
    names = _names(request)
    suite, variant = _suite(request, names, experiment)
    settings = {
        "suite": request.suite,
        "dataset": info.name,
        "image_shape": list(info.image_shape),
        "severities_of": variant,
        "checkpoint": request.checkpoint,
        "step": int(state.step),
        "epoch": int(state.step) / experiment.steps_per_epoch,
        "examples": len(suite),
        "seed": request.seed if request.suite == GENERATED else None,
        "names": list(names),
        "weights_crc32": checksum(state.variables),
        "labels_crc32": None if suite.labels is None else checksum(suite.labels),
        "paired": suite.paired,
        "beside_alexnet": beside_alexnet(info, variant),
        "caveat": caveat(info, variant),
        **suite.identity(),
    }
    return Prepared(experiment, state.variables, suite, settings)


def _names(request: Request) -> tuple[str, ...]:
    """The corruptions to measure: of a published set without extra ones that are not there.

    Raises:
      FileNotFoundError: if there is no folder.
      ValueError: if none is left.
    """
    if request.suite == GENERATED:
        return request.names
    root = Path(request.images).expanduser()
    check_folder(root, _PUBLISHED[request.suite].URL)
    present = _PUBLISHED[request.suite].present
    names = tuple(name for name in request.names if name in corruptions.COMMON or present(root, name))
    if not names:
        raise ValueError(
            f"expected corruptions to measure, found none: {root} has none of {', '.join(request.names)}, and "
            "--leave_out names the rest"
        )
    return names


def _suite(request: Request, names: tuple[str, ...], experiment: Experiment) -> tuple[Suite, str]:
    """The images, and whose severities they have."""
    info, test = experiment.splits.info, experiment.splits.test
    if request.suite != GENERATED:
        root = Path(request.images).expanduser()
        return _PUBLISHED[request.suite].open_suite(root, names, info, test), request.suite
    small = max(info.image_shape[:2]) <= _SMALL_SIDE
    variant = corruptions.CIFAR10_C if small else corruptions.IMAGENET_C
    if small and request.stored != MEMORY:
        raise ValueError("CIFAR-10-C's images were never stored as JPEG: leave --stored out for small images")
    chosen = {name: corruptions.ALL[name] for name in names}
    for corruption in chosen.values():
        # What is missing is to be known before anything is measured.
        tables(corruption, variant, info.image_shape)
    return Generated(test, info.image_shape, chosen, variant, request.seed, request.stored == JPEG85), variant
