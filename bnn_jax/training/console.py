"""What a person sees of a run: a progress bar on a terminal, plain lines elsewhere, and tables."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bnn_jax.tables import Row, plain_table, rich_table

# How a number is shown, by the end of its name: a label and a format.
_FORMATS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("loss", "loss", "{:.4f}".format),
    ("accuracy", "accuracy", "{:.2%}".format),
    ("learning_rate", "lr", "{:.3g}".format),
    ("images_per_s", "images/s", "{:,.0f}".format),
)


def describe(values: Mapping[str, Any]) -> str:
    """One line for the metrics worth one: `loss 1.2345  accuracy 53.10%  lr 0.1  images/s 1,234`."""
    return "  ".join(f"{label} {form(float(values[name]))}" for name, label, form in _FORMATS if name in values)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: `1:02:03`; `-:--:--` if not finite."""
    if not math.isfinite(seconds):
        return "-:--:--"
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


class Console:
    """Shows how a run advances; a context manager.

    On a terminal one line is kept up to date. Elsewhere a line is printed at the first report, when a new
    epoch has begun, when `interval` seconds have passed since the last one, and at the end of the run.

    Args:
      total_steps: Steps of the whole run.
      start_step: Steps that were finished before.
      total_epochs: Epochs of the whole run, for display; None if there is no telling.
      interval: Seconds between plain lines at least, within an epoch.
      quiet: Whether to show nothing at all (all processes of a run but one, say).
      file: Where to; standard output by default.
      clock: Seconds, growing.

    Example:
      >>> with Console(total_steps=1000) as console:
      ...     console.update(10, 0.1, {"loss": 1.2, "accuracy": 0.5})
      epoch 0.1  step 10/1,000  loss 1.2000  accuracy 50.00%  eta -:--:--
    """

    def __init__(
        self,
        total_steps: int,
        start_step: int = 0,
        *,
        total_epochs: int | None = None,
        interval: float = 10.0,
        quiet: bool = False,
        file: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rich = RichConsole(file=file, quiet=quiet, highlight=False)
        self._total, self._start = total_steps, start_step
        self._epochs = "" if total_epochs is None else f"/{total_epochs}"
        self._interval, self._clock = interval, clock
        self._first: tuple[float, int] | None = None  # time and step of the first report
        self._last: tuple[float, int] | None = None  # time and epoch of the last plain line
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        if self._rich.is_terminal and not self._rich.is_dumb_terminal and not self._rich.quiet:
            self._bar = _bar(self._rich)
            self._task = self._bar.add_task("starting", total=self._total, completed=self._start, metrics="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def update(self, step: int, epoch: float, values: Mapping[str, Any]) -> None:
        """Shows metrics of the steps up to `step`.

        Args:
          step: Steps finished.
          epoch: Epochs finished, with fraction.
          values: Scalars; "loss", "accuracy" (in [0, 1]), "learning_rate" and "images_per_s" are shown.
        """
        if self._bar is not None:
            place = f"epoch {max(1, math.ceil(epoch))}{self._epochs}"
            if self._first is None:
                # The pace counts from here: earlier steps were compiled for, or made by a process before.
                self._bar.reset(self._task, completed=step)
            self._bar.update(self._task, completed=step, description=place, metrics=describe(values))
        elif self._due(step, epoch):
            self.print(f"{self._place(step, epoch)}  {describe(values)}  eta {duration(self._eta(step))}")
        self._first = self._first or (self._clock(), step)

    def evaluated(self, step: int, epoch: float, accuracy: float, best: float) -> None:
        """Shows a result on the test split, in [0, 1], marked if better than `best`, that before it (-1: none)."""
        mark = "  *" if accuracy > best else f"  (best {best:.2%})"
        self.print(f"{self._place(step, epoch)}  test accuracy {accuracy:.2%}{mark}")

    def print(self, what: object = "") -> None:
        """Prints above the progress bar: text as it is; anything else as rich draws it, elsewhere as text."""
        if self._rich.is_terminal and not isinstance(what, str):
            self._rich.print(what)
        else:
            # Neither wrapped nor cut: without a terminal rich takes lines to be 80 columns wide.
            self._rich.print(str(what), markup=False, soft_wrap=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Row], totals: Row = ()) -> None:
        """Prints a table: drawn by rich on a terminal, aligned plain text elsewhere; an empty line follows.

        Args:
          title: Above it.
          columns: Headings.
          rows: Cells; numbers are set to the right.
          totals: A last row, set apart; none if empty.

        Raises:
          ValueError: If a row has not one cell for each column.
        """
        drawn = (rich_table if self._rich.is_terminal else plain_table)(title, columns, rows, totals)
        self.print(drawn)
        self.print()

    def _place(self, step: int, epoch: float) -> str:
        return f"epoch {epoch:.4g}{self._epochs}  step {step:,}/{self._total:,}"

    def _due(self, step: int, epoch: float) -> bool:
        now, begun = self._clock(), math.ceil(epoch)
        if step < self._total and self._last is not None:
            then, seen = self._last
            if begun == seen and now - then < self._interval:
                return False
        self._last = now, begun
        return True

    def _eta(self, step: int) -> float:
        """Seconds to go, at the mean pace since the first report; infinite at that one."""
        if step >= self._total:
            return 0.0
        began, first = self._first or (0.0, step)
        return (self._clock() - began) / (step - first) * (self._total - step) if step > first else math.inf


def table(
    title: str, columns: Sequence[str], rows: Sequence[Row], totals: Row = (), *, file: TextIO | None = None
) -> None:
    """Prints a table as `Console.table` does, outside of a run."""
    Console(0, file=file).table(title, columns, rows, totals)


def _bar(console: RichConsole) -> Progress:
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,}/{task.total:,}"),
        TextColumn("{task.fields[metrics]}"),
        TimeRemainingColumn(),
        console=console,
        expand=True,
        refresh_per_second=4,
    )
