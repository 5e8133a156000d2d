"""Which classes are taken for which, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from edgeconv.printable import shortened
from edgeconv.report.html.charts import INK, SERIES, Chart, as_svg
from edgeconv.report.plotting import new_figure

MOST_CLASSES = 20  # more cells cannot be read
_LONGEST = 18  # characters of a label


def confusion_chart(description: str, counts: npt.NDArray[Any], labels: Sequence[str]) -> Chart:
    """Draw how many samples of each class are taken for each.

    Args:
        description: What the chart is of.
        counts: [true class, predicted class].
        labels: The name of each class.
    """
    from matplotlib.patches import Rectangle

    number = len(labels)
    figure = new_figure(8, 1.6 + 0.32 * number)
    axes = figure.subplots()
    totals = counts.sum(1)
    for true, predicted in zip(*counts.nonzero(), strict=True):
        count = counts[true, predicted]
        axes.add_patch(
            Rectangle(
                (predicted - 0.5, true - 0.5),
                1,
                1,
                color=SERIES[0 if true == predicted else 1],
                # A single sample among many is a mistake that should be seen, too.
                alpha=0.2 + 0.5 * float(count / totals[true]),
                linewidth=0,
            )
        )
        axes.text(
            predicted, true, str(count), color=INK, ha="center", va="center", fontsize="small"
        )
    short = [shortened(label, _LONGEST) for label in labels]
    axes.set_xlim(-0.5, number - 0.5)
    axes.set_ylim(number - 0.5, -0.5)
    axes.set_xticks(range(number), short, rotation=90, parse_math=False)
    axes.set_yticks(range(number), short, parse_math=False)
    axes.set_xlabel("taken for", color=INK)
    axes.set_ylabel("class", color=INK)
    axes.tick_params(colors=INK, length=0)
    axes.set_aspect("equal")
    for spine in axes.spines.values():
        spine.set_color(INK)
        spine.set_alpha(0.2)
    return Chart(as_svg(figure), description)
