"""What is known of a published set that is not here, so that a dry run can show its plan all the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from bnn_jax.data.source import Splits

__all__ = ["Absent", "NowhereError", "outline_of", "outlined"]

_Function = TypeVar("_Function", bound=Callable[..., Splits])


class NowhereError(FileNotFoundError):
    """A published set is in none of the usual places, and no other was named."""


@dataclass(frozen=True)
class Absent:
    """A `Source` whose length is known and whose examples are not there.

    Attributes:
      count: number of examples.
    """

    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        raise FileNotFoundError(f"example {index} of a set that is not here was asked for: this is a dry run")


def outlined(outline: Callable[..., Splits]) -> Callable[[_Function], _Function]:
    """Marks a data source with what is known of it without looking: ``outline`` takes the same arguments."""

    def mark(function: _Function) -> _Function:
        function.outline = outline  # type: ignore[attr-defined]
        return function

    return mark


def outline_of(function: Callable[..., Any]) -> Callable[..., Splits] | None:
    """The outline of a data source, if it has one."""
    return getattr(function, "outline", None)
