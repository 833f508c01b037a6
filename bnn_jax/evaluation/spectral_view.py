"""How spectral norms of a network and its teacher look: tables, and a picture."""

from pathlib import Path
from typing import Any

from bnn_jax.drawing import FAINT, GROUPS, INK, figure
from bnn_jax.training.console import table

ITERATIONS = (1, 2, 3, 5, 10)
WAYS = (*map(str, ITERATIONS), "exact")
WHO = {"network": "error", "teacher": "teacher error"}


def show(result: dict[str, Any]) -> None:
    """Prints the tables.

    Args:
      result: What `bnn_jax.evaluation.spectral.compare` returns.
    """
    of = f"mean over {result['images']} test images, {result['checkpoint']} checkpoint (step {result['step']:,})"
    counts = tuple(f"n = {n}" for n in ITERATIONS)
    norms, errors = [], []
    for pair in result["pairs"]:
        for who, error in WHO.items():
            if who in pair:
                gaps = [f"{pair[gap]:.4g}" if gap in pair else "-" for gap in ("gap", "scaled gap")]
                label = (pair["pair"], who) if who == "network" else ("", who)
                values = (f"{pair[who][way]:.4g}" for way in WAYS)
                norms.append((*label, *values, *(gaps if who == "network" else ("", ""))))
                errors.append((*label, *(f"{100 * pair[error][str(n)]:.3g}%" for n in ITERATIONS)))
    table(f"Spectral norms of retention matrices, {of}", ("stages", "of", *counts, "exact", "gap", "scaled gap"), norms)
    table("Mean error of power iteration against the exact norm", ("stages", "of", *counts), errors)
    print("n: power iterations, from a vector of ones; one alone may exceed the norm, as a plain sum does.")
    if any("gap" in pair for pair in result["pairs"]):
        print(
            "gap: mean of |network - teacher|, both exact; scaled gap: the same, the network's norm multiplied by what "
            "the loss has learned to multiply it with."
        )


def draw(result: dict[str, Any], path: Path) -> None:
    """Draws the norms, approximated and exact, and how well power iteration finds them, 1650 x 675 pixels.

    Args:
      result: What `bnn_jax.evaluation.spectral.compare` returns.
      path: File to write.
    """
    picture = figure(11, 4.5)
    norms, errors = picture.subplots(1, 2)
    pairs: list[dict[str, Any]] = result["pairs"]
    for i, (who, colour) in enumerate(zip(WHO, GROUPS, strict=False)):
        shown = [(place + 0.24 * i - 0.12, pair) for place, pair in enumerate(pairs) if who in pair]
        places, values = [place for place, _ in shown], [pair[who] for _, pair in shown]
        if not values:
            continue
        norms.plot(places, [v["exact"] for v in values], "o", color=colour, markersize=9, label=f"{who}, exact")
        first = [v["1"] for v in values]
        norms.plot(places, first, "o", color=colour, markersize=9, fillstyle="none", label=f"{who}, n = 1")
    scaled = [(x - 0.12, p["factor"] * p["network"]["exact"]) for x, p in enumerate(pairs) if "factor" in p]
    if scaled:
        norms.plot(*zip(*scaled, strict=True), "x", color=GROUPS[0], markersize=9, label="network, exact, scaled")
    norms.set_xticks(range(len(pairs)), [pair["pair"] for pair in pairs])
    norms.set_xlim(-0.5, len(pairs) - 0.5)
    if all(value > 0 for pair in pairs for who in WHO if who in pair for value in pair[who].values()):
        norms.set_yscale("log")
    norms.set(title="Largest singular value")
    norms.legend(frameon=False)
    for pair, colour in zip(pairs, GROUPS * len(pairs), strict=False):
        for (who, error), style in zip(WHO.items(), ("o-", "s--"), strict=True):
            if error in pair:
                values = [100 * pair[error][str(n)] for n in ITERATIONS]
                errors.plot(ITERATIONS, values, style, color=colour, label=f"{pair['pair']}, {who}")
    errors.set(title="Mean error of n power iterations, %", xlabel="n")
    errors.set_yscale("symlog", linthresh=1e-6)
    errors.set_xticks(ITERATIONS)
    errors.legend(frameon=False)
    for axes in (norms, errors):
        axes.grid(axis="y", color=FAINT)
        axes.tick_params(colors=INK)
        axes.set_axisbelow(True)
    picture.savefig(path)
