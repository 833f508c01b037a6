"""How every report ends: a JSON file, a table on the screen, a picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from bnn_jax.training.workdir import write_json

Result = dict[str, Any]


def deliver(
    result: Result, workdir: Path, name: str, show: Callable[[Result], None], draw: Callable[[Result, Path], None]
) -> Result:
    """Writes `workdir/<name>.json` and `.png` and prints the table, on the first process alone.

    Args:
      result: What was found out, as JSON has it.
      workdir: Folder of the run.
      name: Of the report.
      show: Prints the table.
      draw: Draws the picture into a file.

    Returns:
      The result.
    """
    if jax.process_index() == 0:
        numbers, picture = workdir / f"{name}.json", workdir / f"{name}.png"
        write_json(numbers, result)
        show(result)
        draw(result, picture)
        print(f"Picture and numbers: {picture}, {numbers}")
    return result
