"""How far a measurement is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bnn_jax.training.console import duration


class Steps:
    """Shows the steps of a measurement; a context manager.

    Args:
      total: how many there are.
      done: how many were done before.
      interval: seconds between plain lines.
      quiet: whether to show nothing.
    """

    def __init__(self, total: int, done: int = 0, *, interval: float = 30.0, quiet: bool = False) -> None:
        self._console = Console(highlight=False, quiet=quiet)
        self._total, self._start, self._done, self._interval = total, done, done, interval
        self._began = self._last = time.monotonic()
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._console.is_dumb_terminal and not self._console.quiet:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TextColumn("{task.percentage:.0f} %"),
            )
            self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console, expand=True)
            self._task = self._bar.add_task("", total=self._total, completed=self._done)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def advance(self, what: str) -> None:
        """One step more is done, of `what`."""
        self._done += 1
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, description=what)
            return
        now = time.monotonic()
        if now - self._last >= self._interval:
            pace = (now - self._began) / (self._done - self._start)
            left = duration(pace * (self._total - self._done))
            self._console.print(f"{what}  {self._done / self._total:.1%}  eta {left}", soft_wrap=True)
            self._last = now
