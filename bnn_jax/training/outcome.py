"""How a run ends."""

from dataclasses import dataclass


class DataError(ValueError):
    """The examples cannot be read, or are not those the run began with."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
      step: Finished steps.
      total_steps: Steps of the whole run.
      signal: The signal it was sent; 0 if none. One that came after the last evaluation stopped nothing.
      best_accuracy: Best test accuracy, in [0, 1]; -1 if there was no evaluation.
      best_epoch: The epoch it was reached in, from 1.
      owed: Whether the evaluation of the last step is left to be done.
    """

    step: int
    total_steps: int
    signal: int
    best_accuracy: float
    best_epoch: int
    owed: bool = False

    @property
    def finished(self) -> bool:
        """Whether the run is at its end, and measured there."""
        return self.step >= self.total_steps and not self.owed
