"""How a summary looks: the layers that multiply, the others in one row for each kind, totals."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.table import Table

from bnn_jax.tables import plain_table, rich_table

if TYPE_CHECKING:
    from bnn_jax.summary import LayerSummary, Summary

COLUMNS: tuple[str, ...] = (
    "layer",
    "kind",
    "bits\nin/w",
    "kernel",
    "output",
    "1-bit\nparams",
    "32-bit\nparams",
)
COLUMNS += ("latent\nKiB", "packed\nKiB", "binary\nMACs", "float\nMACs")
# Left out, in this order, where a terminal is too narrow.
EXPENDABLE = ("kind", "output", "kernel", "latent\nKiB")


def as_text(summary: "Summary") -> str:
    """The summary as plain text."""
    table = plain_table(_title(summary), COLUMNS, _rows(_merged(summary.layers)), _totals(summary))
    return f"{table}\n{_ratios(summary)}"


def render(summary: "Summary", *, detail: bool = False, width: int = 120) -> Table:
    """The summary as a rich table. `rich.print(summary)` draws one that fits the terminal.

    Args:
      summary: What to draw.
      detail: Whether layers that multiply nothing (normalization, say) get rows of their own rather than one
        row for each kind.
      width: Columns of the terminal; where they are too few, kinds and shapes are left out.
    """
    table = [COLUMNS, *_rows(summary.layers if detail else _merged(summary.layers)), _totals(summary)]
    for name in EXPENDABLE:
        columns, *rows, totals = table
        if max(map(len, plain_table("", columns, rows, totals).splitlines())) > width:
            drop = columns.index(name)
            table = [(*cells[:drop], *cells[drop + 1 :]) for cells in table]
    columns, *rows, totals = table
    return rich_table(_title(summary), columns, rows, totals, _ratios(summary))


def _merged(layers: Iterable["LayerSummary"]) -> list["LayerSummary"]:
    """Layers which multiply, as they are, then one entry for each kind of the others."""
    shown: list[LayerSummary] = []
    others: dict[str, list[LayerSummary]] = {}
    for layer in layers:
        if layer.binary_macs or layer.float_macs:
            shown.append(layer)
        else:
            others.setdefault(layer.kind, []).append(layer)
    return shown + [group[0] if len(group) == 1 else _sum(group) for group in others.values()]


def _sum(group: list["LayerSummary"]) -> "LayerSummary":
    counts = ("binary_params", "float_params", "latent_bytes", "packed_bytes")
    return replace(
        group[0],
        name=f"{group[0].kind} ({len(group)} layers)",
        kernel_shape=(),
        output_shape=(),
        **{name: sum(getattr(layer, name) for layer in group) for name in counts},
    )


def _rows(layers: Iterable["LayerSummary"]) -> list[tuple[str, ...]]:
    return [
        (
            layer.name or "(model)",
            layer.kind,
            f"{layer.input_bits}/{layer.weight_bits}" if layer.kernel_shape else "-",
            _by(layer.kernel_shape),
            _by(layer.output_shape),
            *_counts(layer),
        )
        for layer in layers
    ]


def _totals(summary: "Summary") -> tuple[str, ...]:
    return (f"total {summary.params:,}", "", "", "", "", *_counts(summary))


def _counts(of: "LayerSummary | Summary") -> tuple[str, ...]:
    params = (f"{of.binary_params:,}", f"{of.float_params:,}")
    storage = (_kib(of.latent_bytes), _kib(of.packed_bytes))
    return (*params, *storage, _short(of.binary_macs), _short(of.float_macs))


def _title(summary: "Summary") -> str:
    return f"{summary.model}, one example of {_by(summary.input_shape)}"


def _ratios(summary: "Summary") -> str:
    return (
        f"binarized: {summary.binarized_weights:.2%} of parameters, {summary.binarized_macs:.2%} of MACs; "
        f"packed {summary.packed_bytes / 1024:,.1f} of {summary.latent_bytes / 1024:,.1f} KiB, "
        f"{summary.compression:.1f} times smaller"
    )


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "-"


def _kib(size: int) -> str:
    return f"{size / 1024:,.{2 if size < 10 * 1024 else 1 if size < 1000 * 1024 else 0}f}"


def _short(count: int) -> str:
    """Three figures and a unit: 2.36M."""
    for unit, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= unit:
            figures = f"{count / unit:#.3g}".removesuffix(".") if count < 999 * unit else str(count // unit)
            return figures + letter
    return str(count)
