"""What an ablation leaves in its folder: all numbers, the table and the picture."""

from dataclasses import asdict
from pathlib import Path

from bnn_jax.ablation import picture
from bnn_jax.ablation.plan import Plan
from bnn_jax.ablation.record import Ablation
from bnn_jax.ablation.results import stored
from bnn_jax.ablation.summary import Result, columns, markdown, rows, statistics
from bnn_jax.config import to_dict
from bnn_jax.training.console import table
from bnn_jax.training.workdir import write_json

NUMBERS, TABLE, PICTURE = "ablation.json", "ablation.md", "ablation.png"


def verify(workdir: Path) -> None:
    """Checks that an ablation may use a folder: it is new or empty, or holds one.

    Raises:
      ValueError: If it holds something else.
    """
    if not workdir.exists() or (workdir / NUMBERS).is_file():
        return
    # An ablation that was killed while it wrote its first file leaves no more than this.
    part = workdir / f"{NUMBERS}.part"
    if not workdir.is_dir() or any(path != part for path in workdir.iterdir()):
        raise ValueError(f"{workdir} is there already, but holds no {NUMBERS}: use a new or empty folder")


def write(ablation: Ablation, planned: Plan, workdir: Path) -> None:
    """Writes what is known of the runs so far; of none, only what the ablation is."""
    workdir.mkdir(parents=True, exist_ok=True)
    results, variants = _results(ablation, planned), list(ablation.variants)
    found = statistics(results, variants)
    numbers = {(result.variant, result.seed): result.numbers for result in results}
    content = {
        "base": to_dict(ablation.base),
        "variants": {
            name: {path: to_dict(value) for path, value in fields.items()} for name, fields in ablation.variants.items()
        },
        "seeds": list(ablation.seeds),
        "runs": [
            {
                "variant": trial.variant,
                "seed": trial.seed,
                "folder": trial.workdir.relative_to(workdir).as_posix(),
                "numbers": numbers.get((trial.variant, trial.seed)),
            }
            for trial in planned.trials
        ],
        "statistics": {name: {column: asdict(one) for column, one in of.items()} for name, of in found.items()},
    }
    write_json(workdir / NUMBERS, content)
    if results:
        (workdir / TABLE).write_text(markdown(*rows(found, columns(results))))
        picture.draw(results, variants, workdir / PICTURE)


def show(ablation: Ablation, planned: Plan, workdir: Path) -> None:
    """Prints the table, and where the files are."""
    results = _results(ablation, planned)
    headings, body = rows(statistics(results, list(ablation.variants)), columns(results))
    table("Ablation: mean and sample deviation over seeds, last checkpoints", headings, body)
    files = [("numbers", NUMBERS), ("table", TABLE), ("picture", PICTURE)]
    table("Files", ("what", "where"), [(what, workdir / name) for what, name in files if (workdir / name).is_file()])


def _results(ablation: Ablation, planned: Plan) -> list[Result]:
    """Of those runs which are finished and measured."""
    found = [(trial, stored(trial.workdir, ablation.measures)) for trial in planned.trials]
    return [Result(trial.variant, trial.seed, numbers) for trial, numbers in found if numbers is not None]
