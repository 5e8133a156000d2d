"""The ranges of a calibration: how the values of each activation lie on the steps of int8."""

from __future__ import annotations

from collections.abc import Sequence

from edgeconv.calibrated_ranges import BINS, ActivationRange, CalibratedRanges
from edgeconv.printable import printable
from edgeconv.report.html.charts import INK, SERIES, Chart, as_svg, plain_axes
from edgeconv.report.plotting import new_figure
from edgeconv.units import significant

_ROWS = 40  # of one chart
_HEIGHT = 0.9  # of the highest bar, in rows
_LONGEST = 32  # characters of a name


def range_charts(found: CalibratedRanges) -> list[Chart]:
    """Draw a row for each activation; charts after the first are folded."""
    parts = [found.ranges[i : i + _ROWS] for i in range(0, len(found.ranges), _ROWS)]
    return [
        _chart(
            part,
            f"activations {i * _ROWS + 1} to {i * _ROWS + len(part)} of {found.activations}",
            folded=i > 0,
        )
        for i, part in enumerate(parts)
    ]


def _chart(ranges: Sequence[ActivationRange], which: str, *, folded: bool) -> Chart:
    figure = new_figure(8, 0.9 + 0.32 * len(ranges))
    axes = figure.subplots()
    edges = [-128.5 + 256 * i / BINS for i in range(BINS + 1)]
    for row, each in enumerate(ranges):
        axes.plot(_reach(each), (row, row), color=INK, linewidth=0.8, alpha=0.5)
        most = max(each.counts, default=0)
        if most:
            # The square root shows the tails, too.
            heights = [row - _HEIGHT * (count / most) ** 0.5 for count in each.counts]
            axes.stairs(heights, edges, baseline=row, fill=True, color=SERIES[0], alpha=0.6)
    axes.set_yticks(range(len(ranges)), map(_label, ranges), fontsize="small", parse_math=False)
    axes.set_xlim(-133, 132)
    axes.set_ylim(len(ranges) - 0.5, -1)
    axes.set_xlabel("integer of int8")
    axes.set_xticks([-128, -64, 0, 64, 127])
    plain_axes(axes)
    clipped = "; some values lie beyond it" if any(e.below or e.above for e in ranges) else ""
    counted = "" if all(e.counts for e in ranges) else "; a line alone: only extremes are known"
    return Chart(
        as_svg(figure),
        f"What calibration saw, {which}: how many values (square root) lie on which integers, and "
        f"in brackets the least and the greatest{clipped}{counted}",
        folded,
    )


def _reach(each: ActivationRange) -> tuple[float, float]:
    """The integers of the least and the greatest value, which saturate."""
    step = (each.high - each.low) / 255
    low, high = ((value - each.low) / step - 128 for value in (each.minimum, each.maximum))
    return max(low, -128.0), min(high, 127.0)


def _label(each: ActivationRange) -> str:
    name = printable(each.name)
    if len(name) > _LONGEST:
        name = f"…{name[1 - _LONGEST :]}"
    total = sum(each.counts) + each.below + each.above
    beyond = (each.below + each.above) / total if total else 0.0
    share = f", {100 * beyond:.2g} % beyond" if beyond else ""
    return f"{name} [{significant(each.minimum)}, {significant(each.maximum)}]{share}"
