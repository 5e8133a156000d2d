"""Draw what one unit of a network sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeconv.report.plotting import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from edgeconv.models.effective_field import MeasuredField

_THEORY, _MEASURED = "C1", "C3"


def draw(name: str, field: MeasuredField) -> Figure:
    """Draw the contributions of the pixels, the theoretical field, and a square of the measured."""
    theory = "x".join(map(str, field.theoretical_sides))
    axes = field.contributions.ndim
    measured = "x".join([f"{field.measured_side:.0f}"] * axes)
    figure = new_figure(7, 6 if axes == 2 else 4)
    chart = figure.add_subplot()
    bound = "at least " if field.is_cut_off else ""
    title = f"{name}: theoretical field {theory}, measured {bound}{measured} pixels"
    chart.set_title(title, parse_math=False)
    values = field.contributions.numpy()
    if axes == 1:
        ((first, last),) = field.theoretical
        chart.plot(values, color="C0")
        chart.axvspan(first - 0.5, last + 0.5, color=_THEORY, alpha=0.2, label="theoretical")
        chart.set_xlabel("step")
        chart.set_ylabel("contribution, largest 1")
        chart.legend()
        return figure
    # The root shows what is faint.
    image = chart.imshow(values**0.5, cmap="gray", vmin=0, vmax=1)
    figure.colorbar(image, label="root of the contribution, largest 1")
    (top, bottom), (left, right) = field.theoretical
    _rectangle(chart, left, top, right - left + 1, bottom - top + 1, _THEORY, "theoretical")
    side = field.measured_side
    middle = (left + right - side + 1) / 2, (top + bottom - side + 1) / 2
    _rectangle(chart, *middle, side, side, _MEASURED, "measured, as a square")
    height, width = values.shape
    chart.set_xlim(min(left, 0) - 2, max(right, width - 1) + 2)
    chart.set_ylim(max(bottom, height - 1) + 2, min(top, 0) - 2)
    chart.legend(loc="lower right")
    return figure


def _rectangle(
    chart: Axes, left: float, top: float, width: float, height: float, color: str, label: str
) -> None:
    from matplotlib.patches import Rectangle

    corner = left - 0.5, top - 0.5
    chart.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=color, label=label))
