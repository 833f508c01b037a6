"""Several runs under the same corruptions: measured, and set against the first one."""

from __future__ import annotations

import os
import re
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from bnn_jax.evaluation.robustness import mce
from bnn_jax.evaluation.robustness.comparison import draw, show
from bnn_jax.evaluation.robustness.measure import heed, measure
from bnn_jax.evaluation.robustness.outcomes import CLEAN, UNKNOWN, Outcomes
from bnn_jax.evaluation.robustness.picture import heat_map
from bnn_jax.evaluation.robustness.prepare import prepare
from bnn_jax.evaluation.robustness.report import tell_of_others
from bnn_jax.evaluation.robustness.request import Request
from bnn_jax.evaluation.robustness.summary import common, errors_of, summarize
from bnn_jax.training import parallel
from bnn_jax.training.signals import StopRequest
from bnn_jax.training.workdir import write_json

_SAME = (
    *("suite", "image_shape", "severities_of", "examples", "seed", "names", "stored"),
    *("pixels_version", "labels_crc32", "images_crc32"),
)
_LONGEST = 120


def compare(workdirs: Sequence[Path], request: Request, out: str = "") -> dict[str, Any]:
    """Measures what is asked for of runs, where that is not done yet, and compares them: the same images and draws.

    Runs that cannot be compared, or not be measured, are refused before any is measured, as far as that is known then.

    Args:
      workdirs: folders of the runs; the first is what the others are compared with.
      request: what to measure.
      out: folder for the result; if "", the one that the first run lies in.

    Returns:
      What was written to `compare_<stem>_<runs>.json` in that folder: "runs", for each what
      `summary.summarize` says of the corruptions that all runs are measured under, and "difference", its mean error
      minus the first run's, with the 95 % interval of a paired bootstrap over images; negative is better.

    Raises:
      FileNotFoundError, KeyboardInterrupt: as `measure.measure`.
      PermissionError: if nothing can be written to `out`.
      ValueError: as `measure.measure`, and if there are fewer than two runs or they are of different data.
    """
    resolved = [workdir.resolve() for workdir in workdirs]
    if len(workdirs) < 2 or len(set(resolved)) < len(resolved):
        raise ValueError(f"expected at least two different runs to compare, found {[str(w) for w in workdirs]}")
    names = _short(resolved)
    folder = _writable(Path(out).expanduser() if out else resolved[0].parent)
    measured: dict[str, Outcomes] = {}
    with StopRequest() as stop:
        # Measuring takes hours: what cannot be compared is to be known before.
        _check_same({name: _settings(workdir, request, stop) for name, workdir in zip(names, workdirs, strict=True)})
        for name, workdir in zip(names, workdirs, strict=True):
            if jax.process_index() == 0:
                print(f"{workdir}:")
            summary, measured[name] = measure(workdir, request, stop)
            if jax.process_index() == 0:
                heat_map(summary, workdir / f"{request.stem}.png")
    outcomes = _alike(measured)
    summaries = {name: summarize(found) for name, found in outcomes.items()}
    compared = [name for name in names[1:] if summaries[name]["mean_over"]]
    differences = {name: difference(outcomes[names[0]], outcomes[name]) for name in compared}
    runs = {name: {**summaries[name], "difference": differences.get(name)} for name in names}
    if jax.process_index() == 0:
        path = folder / f"compare_{request.stem}_{_together(names)}.json"
        write_json(path, {"runs": runs})
        show(runs)
        tell_of_others(next(iter(runs.values())), request)
        draw(runs, path.with_suffix(".png"))
        print(f"Picture and numbers: {path.with_suffix('.png')}, {path}")
    return {"runs": runs}


def _settings(workdir: Path, request: Request, stop: StopRequest) -> dict[str, Any]:
    found = prepare(workdir, request).settings
    # Opening a run may take minutes.
    heed(stop)
    return found


def difference(one: Outcomes, other: Outcomes) -> dict[str, Any]:
    """Mean error of the other minus that of the one, over the common corruptions, image by image.

    Args:
      one: outcomes (cells, images) of what is compared with; at least one of the 15 common corruptions is whole.
      other: outcomes of the same corruptions of the same images, in the same order.

    Returns:
      "error", in [-1, 1], and "interval", the two ends of its 95 % bootstrap interval over images.
    """
    means = [mce.mean_error(common(errors_of(outcomes))) for outcomes in (one, other)]
    per_image = means[1] - means[0]
    [interval] = mce.intervals([per_image])
    return {"error": float(per_image.mean()), "interval": list(interval)}


def _check_same(settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuses to compare runs of different images.

    Raises:
      ValueError: if their settings differ in more than the network; says in what.
    """
    first, *others = settings
    for name in others:
        pairs = {key: (settings[first][key], settings[name][key]) for key in _SAME}
        differs = [f"{key} ({one} and {other})" for key, (one, other) in pairs.items() if one != other]
        own, own_other = settings[first]["own_crc32"], settings[name]["own_crc32"]
        # Of published images clean ones may be stored otherwise for each run; corrupted ones are compared all the same.
        shared = own.keys() & own_other.keys() - {CLEAN.corruption}
        differs += [f"the images of {key}" for key in sorted(shared) if own[key] != own_other[key]]
        if differs:
            sets = f"of {settings[first]['dataset']} and of {settings[name]['dataset']}"
            raise ValueError(
                f"{first} and {name}, {sets}, cannot be compared, they differ in {', '.join(differs)}: compare runs of "
                "the same test set"
            )


def _alike(found: Mapping[str, Outcomes]) -> dict[str, Outcomes]:
    """Of each run what is known of all of them, which may be more than was asked for now."""
    settings = [outcomes.settings for outcomes in found.values()]
    names = [name for name in settings[0]["names"] if all(name in others["names"] for others in settings)]

    def same(name: str) -> bool:
        return len({others["own_crc32"].get(name) for others in settings}) == 1

    # What was measured before may be of images that are others now.
    alike = {run: outcomes.only([name for name in names if same(name)]) for run, outcomes in found.items()}
    if not same(CLEAN.corruption):
        for outcomes in alike.values():
            outcomes.row(CLEAN)[:] = UNKNOWN
    return alike


def _short(workdirs: Sequence[Path]) -> list[str]:
    """Names of folders without what is common to all; a stage's begins with its recipe's, if both are there."""
    shared = Path(os.path.commonpath(workdirs))
    shared = shared.parent if shared in workdirs else shared
    return [str(workdir.relative_to(shared)) for workdir in workdirs]


def _together(names: Sequence[str]) -> str:
    """Names of runs as a part of a file's name, another one for any other runs.

    They are joined by "_". Where a name has one itself, or characters are replaced or cut, a checksum is added.
    """
    cleaned = [re.sub(r"[^\w.=-]", "-", name) for name in names]
    joined = "_".join(cleaned)
    if cleaned == list(names) and joined.count("_") == len(names) - 1 and len(joined) <= _LONGEST:
        return joined
    checksum = zlib.crc32("\0".join(names).encode())
    return f"{joined[:_LONGEST]}_{checksum:08x}"


def _writable(folder: Path) -> Path:
    """The folder, made if it is not there.

    Raises:
      PermissionError: if it cannot be made or written to; on every process, though the first one writes alone.
        Measuring takes hours: it is to be known before.
    """
    found: OSError | None = None
    if jax.process_index() == 0:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            found = error
    # Without it the others would wait for the first one in their next step together, forever.
    if parallel.gather(int(found is not None))[0]:
        raise PermissionError(
            f"{folder}: expected a folder to write the comparison to, found {found or 'that process 0 cannot'}. Name "
            "another one with --out DIR"
        ) from found
    return folder
