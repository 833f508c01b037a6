"""The picture of an ablation: a panel for each number, a row for each variant, a dot for each seed."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bnn_jax.ablation.summary import Result, columns, heading, percent, values
from bnn_jax.drawing import EVAL, FAINT, INK, TRAIN, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PER_ROW = 3  # panels
SPREAD = 0.2  # of the height of a row, from a variant's first seed to its last


def draw(results: Sequence[Result], variants: Sequence[str], path: Path) -> None:
    """Draws all numbers of all runs, 1500 pixels wide.

    Args:
      results: Finished runs.
      variants: Those to be drawn, from top to bottom.
      path: Of the picture.
    """
    names = columns(results)
    wide = min(PER_ROW, max(1, len(names)))
    high = math.ceil(len(names) / wide) or 1
    height = 0.6 + high * (1.0 + 0.36 * len(variants))
    picture = figure(10, height, w_pad=0.12, h_pad=0.1, wspace=0.03, hspace=0.05)
    panels = picture.subplots(high, wide, sharey=True, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        _draw_column(axes, results, variants, name)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    panels[0].set_yticks(range(len(variants)), variants)
    panels[0].set_ylim(len(variants) - 0.5, -0.5)
    if names:
        handles, labels = panels[0].get_legend_handles_labels()
        picture.legend(
            handles, labels, loc="outside lower right", frameon=False, fontsize=9, labelcolor=INK, ncols=len(labels)
        )
    picture.savefig(path)


def _draw_column(axes: "Axes", results: Sequence[Result], variants: Sequence[str], name: str) -> None:
    axes.set_title(heading(name), color=INK, fontsize=11, fontweight="bold", loc="left")
    factor = 100 if percent(name) else 1
    dots: list[tuple[float, float]] = []
    means: list[tuple[float, float]] = []
    for row, variant in enumerate(variants):
        found = [factor * value for value in values(results, variant, name)]
        if not found:
            continue
        # Seeds one below the other, so that equal numbers are seen to be several.
        step = SPREAD / max(1, len(found) - 1)
        dots += [(value, row + (i - (len(found) - 1) / 2) * step) for i, value in enumerate(found)]
        means.append((sum(found) / len(found), row))
    axes.plot(*zip(*dots, strict=True), "o", color=TRAIN, alpha=0.8, markersize=5, markeredgewidth=0, label="one seed")
    axes.plot(*zip(*means, strict=True), "|", color=EVAL, markersize=17, markeredgewidth=2, label="mean", zorder=1.9)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9, length=0)
    axes.margins(x=0.08)
    axes.locator_params(axis="x", nbins=4)
    axes.ticklabel_format(axis="x", scilimits=(-2, 4))
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
