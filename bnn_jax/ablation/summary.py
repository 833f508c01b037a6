"""Means and deviations over seeds, as numbers, on the screen and as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bnn_jax.ablation.measures import ACCURACY
from bnn_jax.ablation.results import Numbers


@dataclass(frozen=True)
class Result:
    """Numbers of one finished run, by name."""

    variant: str
    seed: int
    numbers: Numbers


@dataclass(frozen=True)
class Statistic:
    """One number over the seeds of a variant.

    Attributes:
      mean: Over the runs that have it.
      deviation: Their sample deviation, with n - 1; None of a single run.
      n: How many runs these are.
    """

    mean: float
    deviation: float | None
    n: int


def columns(results: Sequence[Result]) -> list[str]:
    """Names of all numbers, in the order of their first appearance: accuracy comes first."""
    return list(dict.fromkeys(name for result in results for name in result.numbers))


def values(results: Sequence[Result], variant: str, column: str) -> list[float]:
    """A number of each run of a variant, of those that have it, in the order of the runs."""
    return [r.numbers[column] for r in results if r.variant == variant and column in r.numbers]


def statistics(results: Sequence[Result], variants: Sequence[str]) -> dict[str, dict[str, Statistic]]:
    """For each variant, in order, and each number: mean and deviation; without those which no run has."""
    table: dict[str, dict[str, Statistic]] = {}
    for variant in variants:
        found = {column: np.array(values(results, variant, column), np.float64) for column in columns(results)}
        table[variant] = {
            column: Statistic(float(v.mean()), float(v.std(ddof=1)) if len(v) > 1 else None, len(v))
            for column, v in found.items()
            if len(v)
        }
    return table


def percent(column: str) -> bool:
    """Whether a number is shown in percent."""
    return column == ACCURACY


def heading(column: str) -> str:
    """How a number is called where it is shown."""
    return f"test {column}, %" if percent(column) else column


def rows(table: Mapping[str, Mapping[str, Statistic]], names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells: a variant, its number of runs, and each of the named numbers as `mean ± deviation`."""
    body = []
    for variant, found in table.items():
        runs = max((statistic.n for statistic in found.values()), default=0)
        body.append([variant, str(runs), *(_cell(found.get(name), name) for name in names)])
    return ["variant", "seeds", *map(heading, names)], body


def markdown(headings: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [headings, ["---"] * len(headings), *body]
    return "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def _cell(statistic: Statistic | None, column: str) -> str:
    if statistic is None:
        return "-"
    if percent(column):
        mean, deviation = f"{100 * statistic.mean:.2f}", f"{100 * (statistic.deviation or 0):.2f}"
    else:
        mean, deviation = f"{statistic.mean:.4g}", f"{statistic.deviation or 0:.2g}"
    return mean if statistic.deviation is None else f"{mean} ± {deviation}"
