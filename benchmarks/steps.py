"""Training steps on random data, to be timed in turns or profiled."""

import argparse
import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from benchmarks.train_step import synthetic
from bnn_jax.config import Config, component
from bnn_jax.data import train_iterator
from bnn_jax.training import parallel
from bnn_jax.training.assembly import assemble


class Side(Protocol):
    """What can be timed."""

    def seconds(self, steps: int) -> float:
        """Runs some steps and says how long they took."""


def on_random_images(config: Config, batch: int) -> Config:
    """The experiment, changed to see random images of CIFAR's shape, so many a step."""
    config.data.source, config.data.batch_size = component(synthetic), batch
    return config


class Step:
    """An experiment's step on one batch of random images of CIFAR's shape."""

    def __init__(self, config: Config, batch: int):
        self.experiment = assemble(on_random_images(config, batch))
        self.state = parallel.replicate(self.experiment.init_state())
        self.batch = parallel.split(next(train_iterator(self.experiment.splits.train, batch_size=batch, seed=0)))

    def seconds(self, steps: int) -> float:
        """Runs some steps and says how long they took."""
        began = time.perf_counter()
        for _ in range(steps):
            self.state, metrics = self.experiment.train_step(self.state, self.batch)
        float(metrics.loss)
        return time.perf_counter() - began


def take_turns(sides: Mapping[str, Side], rounds: int, steps: int) -> dict[str, list[float]]:
    """Seconds per step of each side in each round, after a round which compiles and is not counted."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(rounds + 1):
        # Whoever comes second finds another cache: they change places.
        for name in list(sides)[:: 1 if i % 2 else -1]:
            seconds = sides[name].seconds(steps) / steps
            if i:
                times[name].append(seconds)
    return times


def summary(times: Mapping[str, list[float]], name: str, compared: list[float]) -> dict[str, float]:
    """Median seconds of each side; median and quartiles, over rounds, of what they are compared by."""
    lower, middle, upper = statistics.quantiles(compared, n=4)
    row = {f"{side} s": statistics.median(seconds) for side, seconds in times.items()}
    return {**row, name: middle, "lower quartile": lower, "upper quartile": upper}


def options(doc: str | None, *, rounds: int, steps: int) -> argparse.ArgumentParser:
    """A command line with --config, and what all that take turns have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--batch", type=_at_least(1), default=64)
    parser.add_argument("--rounds", type=_at_least(2), default=rounds)
    parser.add_argument("--steps", type=_at_least(1), default=steps)
    parser.add_argument("--json", default="")
    return parser


def _at_least(least: int):
    def count(text: str) -> int:
        if (number := int(text)) < least:
            raise argparse.ArgumentTypeError(f"expected {least} or more, found {text}")
        return number

    return count


def show(row: Mapping[str, float], path: str) -> None:
    """Prints a row, and writes it to a file unless that is ""."""
    for name, value in row.items():
        print(f"{name:>14}  {value:.3f}")
    if path:
        Path(path).write_text(json.dumps(row, indent=2) + "\n")
