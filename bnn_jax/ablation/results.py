"""What was measured of each run of an ablation: stored beside it, computed once."""

import json
from collections.abc import Sequence
from pathlib import Path

from bnn_jax.ablation.measures import accuracy
from bnn_jax.ablation.record import Measure, measure_name
from bnn_jax.training.workdir import write_json

FILE = "measures.json"
Numbers = dict[str, float]


def stored(workdir: Path, measures: Sequence[Measure]) -> Numbers | None:
    """Numbers of a run, test accuracy first; None if one of the measures is still to be taken.

    Raises:
      ValueError: If the file is damaged, or two measures give numbers of the same name.
    """
    found = _read(workdir)
    names = [measure_name(measure) for measure in (accuracy, *measures)]
    if not all(name in found for name in names):
        return None
    numbers: Numbers = {}
    for name in names:
        if twice := set(found[name]) & set(numbers):
            raise ValueError(f"measure {name!r} gives {sorted(twice)}, as another one does: name its numbers otherwise")
        numbers.update(found[name])
    return numbers


def take(workdir: Path, measures: Sequence[Measure]) -> None:
    """Measures a finished run and stores the numbers; what is stored already is not measured again.

    Raises:
      ValueError: If a measure gives something else than numbers by name, or cannot be taken of this run.
    """
    for measure in (accuracy, *measures):
        name, found = measure_name(measure), _read(workdir)
        if name in found:
            continue
        try:
            numbers = {str(key): float(value) for key, value in measure(workdir).items()}
        except (AttributeError, TypeError) as error:
            raise ValueError(f"measure {name!r} must give numbers by name, as a dict: {error}") from error
        write_json(workdir / FILE, {**found, name: numbers})


def _read(workdir: Path) -> dict[str, Numbers]:
    path = workdir / FILE
    if not path.is_file():
        return {}
    try:
        found: dict[str, Numbers] = json.loads(path.read_text())
        if not all(isinstance(numbers, dict) for numbers in found.values()):
            raise ValueError("expected numbers by name")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}): remove it to measure the run again") from error
    return found
