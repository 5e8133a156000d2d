"""The roofline: how fast each operator computes, and how fast the board could."""

from __future__ import annotations

from edgeconv.bench.profile.records import ProfiledModel
from edgeconv.bench.profile.roofline import Arithmetic, moved_bytes
from edgeconv.printable import shortened
from edgeconv.report.html.charts import INK, LONGEST_LABEL, SERIES, Chart, as_svg, plain_axes
from edgeconv.report.plotting import new_figure

_STYLES = {
    Arithmetic.FLOAT32: "-",
    Arithmetic.INT8: "--",
    Arithmetic.INT8_DEPTHWISE: ":",
}


def roofline_chart(model: ProfiledModel) -> Chart | None:
    """Draw the operators with products below the roofs; None where there is nothing to draw.

    That is the case on a board whose peaks are not known.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    peaks, points = model.peaks, _points(model)
    if peaks is None or not points:
        return None
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    kinds = list(dict.fromkeys(kind for kind, _, _ in points))
    for index, kind in enumerate(kinds):
        axes.scatter(
            [x for name, x, _ in points if name == kind],
            [y for name, _, y in points if name == kind],
            label=shortened(kind, LONGEST_LABEL),
            s=25,
            alpha=0.7,
            linewidths=0,
            color=SERIES[index % len(SERIES)],
        )
    slope = peaks.bytes_per_ns
    ends = [x for _, x, _ in points]
    if slope is not None:
        ends += [peak / slope for peak in peaks.macs_per_ns.values()]
    low, high = min(ends) / 2, max(ends) * 2
    for arithmetic, peak in peaks.macs_per_ns.items():
        line = [(low, peak), (high, peak)]
        if slope is not None:
            line.insert(1, (peak / slope, peak))
            line[0] = (low, low * slope)
        axes.plot(
            *zip(*line, strict=True),
            label=f"limit in {arithmetic.value}",
            linestyle=_STYLES[arithmetic],
            color=INK,
            linewidth=1,
            alpha=0.6,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("MACs per byte that an operator reads or writes")
    axes.set_ylabel("GMAC/s")
    plain_axes(axes)
    legend = figure.legend(loc="outside right upper", frameon=False, labelcolor=INK)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return Chart(
        as_svg(figure),
        f"Roofline of {model.file.name} on {peaks.board}: a dot for each operator with products; "
        "none runs faster than the limit of its arithmetic, and in a cache one can exceed that "
        "of the memory, the slope",
    )


def _points(model: ProfiledModel) -> list[tuple[str, float, float]]:
    """The kind, the MACs per byte and the MACs per nanosecond of each operator that has them."""
    return [
        (operator.operator, operator.macs / size, operator.macs / operator.ns)
        for operator in model.operators
        if operator.macs and operator.ns and (size := moved_bytes(operator))
    ]
