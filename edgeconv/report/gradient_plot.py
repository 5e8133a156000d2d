"""Draw how much gradient reaches each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeconv.report.plotting import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from edgeconv.models.gradient_flow import LayerGradient


@dataclass(frozen=True)
class Panel:
    """One chart: named lines of gradients."""

    title: str
    lines: Mapping[str, Sequence[LayerGradient]]


def draw(rows: Sequence[Sequence[Panel]]) -> Figure:
    """Draw a grid of panels, each row with one scale: depth to the right, the gradient's norm up.

    A line connects the largest norm at each depth; dots are the layers. The scale is logarithmic,
    so a layer that no gradient reaches has no dot.
    """
    from matplotlib.ticker import MaxNLocator

    columns = len(rows[0])
    figure = new_figure(1.5 + 4 * columns, 0.8 + 3 * len(rows))
    axes = figure.subplots(len(rows), columns, sharey="row", squeeze=False)
    for chart, panel in zip(axes.flat, (panel for row in rows for panel in row), strict=True):
        for index, (name, layers) in enumerate(panel.lines.items()):
            shown = [layer for layer in layers if layer.norm > 0]
            largest: dict[int, float] = {}
            for layer in shown:
                largest[layer.depth] = max(largest.get(layer.depth, 0.0), layer.norm)
            style = {"color": f"C{index}", "linewidth": 1.2}
            chart.plot(*zip(*sorted(largest.items()), strict=True), label=name, **style)
            chart.scatter(
                [layer.depth for layer in shown],
                [layer.norm for layer in shown],
                s=6,
                color=f"C{index}",
            )
        chart.set_yscale("log")
        chart.set_title(panel.title, parse_math=False)
        chart.grid(visible=True, which="major", alpha=0.3)
        chart.xaxis.set_major_locator(MaxNLocator(integer=True))
        chart.set_xlabel("weighted layers from the input")
        for text in chart.legend(fontsize="small").get_texts():
            text.set_parse_math(False)
    for chart in axes[:, 0]:
        chart.set_ylabel("norm of the weight's gradient")
    return figure
