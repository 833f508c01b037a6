"""Tables: one set of rows, drawn by rich on a terminal and aligned as plain text elsewhere."""

import re
from collections.abc import Sequence

from rich import box
from rich.console import JustifyMethod
from rich.table import Table

Row = Sequence[object]

# "1,234", "0.5 %", "-", "3x3"-like shapes are not numbers.
_NUMBER = re.compile(r"[-+]?[\d,.]+(e[-+]?\d+)?( ?%|[kMG])?|-|")


def plain_table(title: str, columns: Sequence[str], rows: Sequence[Row], totals: Row = ()) -> str:
    """Lays out a table as text: numbers to the right, words to the left, rules of dashes.

    Args:
      title: First line; none if empty.
      columns: Headings; may have several lines.
      rows: Cells, turned to text by `str`.
      totals: A last row, set apart by a rule; none if empty.

    Raises:
      ValueError: If a row has not one cell for each column.
    """
    body = _cells(columns, [*rows, *([totals] if totals else [])])
    right = _right_aligned(columns, body)
    headings = _heading_lines(columns)
    widths = [max(map(len, column)) for column in zip(*headings, *body, strict=True)]

    def line(cells: Sequence[str]) -> str:
        placed = zip(cells, widths, right, strict=True)
        return "  ".join(cell.rjust(width) if flush else cell.ljust(width) for cell, width, flush in placed).rstrip()

    rule = "  ".join("-" * width for width in widths)
    lines = [*map(line, headings), rule, *map(line, body)]
    if totals:
        lines.insert(-1, rule)
    return "\n".join([title, *lines] if title else lines)


def rich_table(title: str, columns: Sequence[str], rows: Sequence[Row], totals: Row = (), caption: str = "") -> Table:
    """The same as a rich renderable, with a caption below; cells of nothing but "0" or "-" are dimmed."""
    body = _cells(columns, [*rows, *([totals] if totals else [])])
    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        caption=caption or None,
        caption_justify="left",
        caption_style="dim",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        show_footer=bool(totals),
    )
    footers = body[-1] if totals else [""] * len(columns)
    for heading, flush, footer in zip(columns, _right_aligned(columns, body), footers, strict=True):
        side: JustifyMethod = "right" if flush else "left"
        table.add_column(
            _escape(heading),
            footer,
            justify=side,
            footer_style="bold",
            no_wrap=flush,
            overflow="fold",
            vertical="bottom",
        )
    for row in body[:-1] if totals else body:
        table.add_row(*(f"[dim]{cell}[/dim]" if cell in ("0", "-") else _escape(cell) for cell in row))
    return table


def _cells(columns: Sequence[str], rows: Sequence[Row]) -> list[list[str]]:
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a row needs {len(columns)} cells, one for each of {list(columns)}, found {list(row)}")
    return [[str(cell) for cell in row] for row in rows]


def _heading_lines(columns: Sequence[str]) -> list[list[str]]:
    """Headings of several lines, set at the bottom."""
    split = [heading.split("\n") for heading in columns]
    height = max(map(len, split))
    return [list(cells) for cells in zip(*([""] * (height - len(lines)) + lines for lines in split), strict=True)]


def _right_aligned(columns: Sequence[str], body: Sequence[Sequence[str]]) -> list[bool]:
    return [all(_NUMBER.fullmatch(row[i]) for row in body) and bool(body) for i in range(len(columns))]


def _escape(cell: str) -> str:
    return cell.replace("[", r"\[")
