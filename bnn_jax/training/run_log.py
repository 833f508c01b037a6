"""The log of a run: one line of JSON for each record in `metrics.jsonl`, TensorBoard events where asked for.

    {"step": 1000, "epoch": 2.56, "kind": "train", "loss": 1.29, "accuracy": 0.53}

Kinds are "train", "eval" and "telemetry". Steps are steps finished. Numbers that are not finite are
written as null, since JSON has none.

A run that is killed has written lines beyond its last checkpoint, and perhaps half a line. Opening the log at
the step of that checkpoint drops both, so that the log of a resumed run holds each step once. For that to
leave no gap either, write the records of a step before its checkpoint, but for an evaluation that is made up for where
the log does not have it.
"""

import importlib.util
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

FILE = "metrics.jsonl"
EVENTS = "tensorboard"
KEYS = ("step", "epoch", "kind")


class RunLog:
    """Appends records to `workdir/metrics.jsonl`, each written through to the file at once.

    One process of a run owns the log. It is a context manager.

    Args:
      workdir: Folder of the run; made if missing.
      resume_step: Step the run continues from: records of later steps are dropped, all if 0.
      tensorboard: Whether to write `workdir/tensorboard` too, for which tensorboardX must be installed; by
        default where it is.

    Raises:
      ValueError: If what is there is no such log; nothing is changed then.
      ModuleNotFoundError: If TensorBoard is asked for and tensorboardX is not installed.
    """

    def __init__(self, workdir: str | Path, resume_step: int = 0, *, tensorboard: bool | None = None) -> None:
        self.path = Path(workdir) / FILE
        self.path.parent.mkdir(parents=True, exist_ok=True)
        available = importlib.util.find_spec("tensorboardX") is not None
        if tensorboard and not available:
            raise ModuleNotFoundError("TensorBoard events need tensorboardX: pip install tensorboardX, or bnn_jax[log]")
        if self.path.exists():
            _truncate(self.path, resume_step)
        self._file = self.path.open("a", encoding="utf-8")
        self._events = None
        if available if tensorboard is None else tensorboard:
            from tensorboardX import SummaryWriter

            self._events = SummaryWriter(str(self.path.parent / EVENTS), purge_step=resume_step + 1)

    def write(self, kind: str, step: int, epoch: float, /, **values: Any) -> None:
        """Appends one record.

        Args:
          kind: "train", "eval" or "telemetry".
          step: Steps finished.
          epoch: Epochs finished, with fraction.
          **values: Scalars (Python, NumPy or JAX), strings, or nested mappings of them. Pass names which
            are no identifiers as `**{"loss/distillation": 0.5}`.

        Raises:
          ValueError: If a value has the name of one of the arguments.
          TypeError: If a value is none of the above.
        """
        if clash := set(KEYS) & set(values):
            raise ValueError(f"values may not be named {sorted(clash)}, which every record has")
        record = {"step": int(step), "epoch": round(float(epoch), 6), "kind": kind, **_plain(values)}
        self._file.write(json.dumps(record, allow_nan=False) + "\n")
        self._file.flush()
        if self._events is not None:
            for name, value in _scalars(_plain(values)):
                self._events.add_scalar(f"{kind}/{name}", value, int(step))

    def close(self) -> None:
        """Closes the files; further calls do nothing."""
        self._file.close()
        if self._events is not None:
            self._events.close()
            self._events = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_log(workdir: str | Path) -> list[dict[str, Any]]:
    """All records of a run, in order; the half-written last line of a killed run is passed over.

    Raises:
      FileNotFoundError: If the run has no log.
      ValueError: If a line other than the last is no record; the message gives file and line.
    """
    path = Path(workdir) / FILE
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: expected the log of a run, which training writes")
    return _read(path)


def has_evaluation(workdir: str | Path, step: int) -> bool:
    """Whether the log of a run holds an evaluation after `step`; not, where there is no log.

    Raises as `read_log`.
    """
    if not (Path(workdir) / FILE).exists():
        return False
    return any(record["kind"] == "eval" and record["step"] == step for record in read_log(workdir))


def _read(path: Path) -> list[dict[str, Any]]:
    # Bytes, for a kill may cut a line within a character.
    lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line break was not written whole
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            if not isinstance(record, dict) or not isinstance(record.get("step"), int):
                raise ValueError("no record")
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number}: expected a JSON record with a step, found {line[:60]!r}"
            ) from error
        records.append(record)
    return records


def _truncate(path: Path, resume_step: int) -> None:
    """Drops what is beyond `resume_step`, atomically: a kill in between leaves the old file."""
    # A run that starts anew writes its records of step 0 (an evaluation before training) again.
    kept = [record for record in _read(path) if record["step"] <= resume_step] if resume_step > 0 else []
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in kept)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _plain(value: Any) -> Any:
    """Nested mappings of what JSON can hold."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if value is None or isinstance(value, str | bool | int):
        return value
    if not isinstance(value, float) and (not hasattr(value, "dtype") or np.ndim(value)):
        raise TypeError(f"a log value must be a scalar, a string or a mapping of these, found {value!r}")
    number = value.item() if hasattr(value, "dtype") else value
    if isinstance(number, bool | int):
        return number
    return float(number) if math.isfinite(number) else None


def _scalars(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Numbers in nested mappings, by path joined with "/"."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            yield f"{prefix}{name}", float(value)
