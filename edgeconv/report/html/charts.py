"""Charts of a page, as SVG that takes its colors from the page.

matplotlib draws them: it needs no display and no script, and the other pictures come from it, too.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeconv.printable import shortened
from edgeconv.report.plotting import new_figure

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Stand-ins that matplotlib draws with; the page puts its own colors there, light or dark.
INK = "#010203"
SERIES = tuple(f"#0a0b{index:02x}" for index in range(6))
_MOST_DOTS = 400  # of one process; more of them are no clearer, and make the page large
_FRONT_SIZE = (8.0, 4.5)  # inches
_MOST_NAMES = 8  # of a front's dots; of more, only those on the front have names
_NAME_SIZE = 8.0  # in points
_POINTS_PER_INCH = 72
_HEIGHTS = (-12.0, 5.0, -22.0, 15.0, -32.0, 25.0)  # of a name above its dot, by preference

_Box = tuple[float, float, float, float]  # left, low, right, high


@dataclass(frozen=True)
class Chart:
    """A picture with the sentence that says what it shows; see ``HtmlTable`` for ``folded``."""

    svg: Markup
    description: str
    folded: bool = False


LONGEST_LABEL = 64  # characters; a longer one leaves no room for what is drawn


@dataclass(frozen=True)
class Point:
    """A file among others: accuracy against cost."""

    name: str
    cost: float
    accuracy: float
    bytes: int
    on_front: bool


def latency_dots(title: str, samples: Mapping[str, Sequence[Sequence[int]]]) -> Chart:
    """Draw every inference of every process as a dot, one row for each process.

    Args:
        title: What the description begins with.
        samples: By file, the nanoseconds of each process.
    """
    rows = sum(map(len, samples.values()))
    figure = new_figure(8, 0.9 + 0.24 * rows + 0.15 * len(samples))
    axes = figure.subplots()
    y, ticks = 0.0, []
    for index, (name, processes) in enumerate(samples.items()):
        first = y
        for durations in processes:
            shown = _spread(durations)
            axes.scatter(
                [ns / 1e6 for ns in shown],
                [y] * len(shown),
                s=9,
                alpha=0.35,
                linewidths=0,
                color=SERIES[index % len(SERIES)],
            )
            y += 1
        ticks.append(((first + y - 1) / 2, shortened(name, LONGEST_LABEL)))
        y += 0.6
    axes.set_yticks(*zip(*ticks, strict=True), parse_math=False)
    axes.set_xlabel("milliseconds of one inference")
    axes.set_xlim(left=0)
    axes.invert_yaxis()
    plain_axes(axes)
    described = f"{title}: a dot for each inference, a row for each process"
    return Chart(as_svg(figure), described)


def front(title: str, points: Sequence[Point], cost: str, accuracy: str) -> Chart:
    """Draw accuracy against cost; the size of a dot grows with the file, the line is the front."""
    figure = new_figure(*_FRONT_SIZE)
    axes = figure.subplots()
    most = max(point.bytes for point in points)
    for index, point in enumerate(points):
        axes.scatter(
            [point.cost],
            [point.accuracy],
            s=25 + 175 * point.bytes / most,
            color=SERIES[index % len(SERIES)],
            alpha=0.8,
            linewidths=0,
        )
    best = sorted((p.cost, p.accuracy) for p in points if p.on_front)
    if len(best) > 1:
        axes.step(*zip(*best, strict=True), where="post", color=INK, linewidth=1, alpha=0.5)
    axes.set_xlabel(cost)
    axes.set_ylabel(accuracy)
    axes.margins(y=0.15)
    axes.set_xlim(0, 1.1 * max(point.cost for point in points))
    plain_axes(axes)
    few = len(points) <= _MOST_NAMES
    _write_names(axes, [point for point in points if few or point.on_front], points)
    named = "" if few else "; the front is named"
    return Chart(as_svg(figure), f"{title}{named}")


def _write_names(axes: Axes, named: Sequence[Point], points: Sequence[Point]) -> None:
    """Write names beside their dots, towards the middle, where neither name nor dot is."""
    width, height = (_POINTS_PER_INCH * inches for inches in _FRONT_SIZE)
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()

    def place(point: Point) -> tuple[float, float]:
        """Where the dot is, about, in points."""
        across, up = (point.cost - left) / (right - left), (point.accuracy - low) / (high - low)
        return 0.9 * width * across, 0.85 * height * up

    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in map(place, points)]
    for point in named:
        x, y = place(point)
        name = shortened(point.name, LONGEST_LABEL)
        # A letter is about half as wide as high. Names to the right begin, others end at the dot.
        long, right_of = 0.55 * _NAME_SIZE * len(name), point.cost < (left + right) / 2
        start = x + 8 if right_of else x - 8 - long
        boxes = {up: (start, y + up, start + long, y + up + _NAME_SIZE) for up in _HEIGHTS}
        free = [up for up, box in boxes.items() if not any(_overlap(box, b) for b in taken)]
        chosen = (free or _HEIGHTS)[0]
        taken.append(boxes[chosen])
        axes.annotate(
            name,
            (point.cost, point.accuracy),
            xytext=(8 if right_of else -8, chosen),
            textcoords="offset points",
            fontsize=_NAME_SIZE,
            horizontalalignment="left" if right_of else "right",
            color=INK,
            parse_math=False,
        )


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _spread(durations: Sequence[int]) -> Sequence[int]:
    """All durations, or evenly many of the sorted ones, with both ends."""
    if len(durations) <= _MOST_DOTS:
        return durations
    ordered, last = sorted(durations), len(durations) - 1
    return [ordered[round(i * last / (_MOST_DOTS - 1))] for i in range(_MOST_DOTS)]


def plain_axes(axes: Axes) -> None:
    """Give the axes the page's color, and no frame."""
    axes.grid(visible=True, color=INK, alpha=0.15)
    axes.tick_params(colors=INK, which="both")
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    for spine in axes.spines.values():
        spine.set_visible(False)


def as_svg(figure: Figure) -> Markup:
    """The figure as an element of HTML, with the page's fonts and colors and without a date."""
    import matplotlib as mpl
    from markupsafe import Markup

    written = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "edgeconv"}):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    text = written.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    used = set(re.findall(r"#([\w.-]+)", text))
    text = re.sub(r' id="([\w.-]+)"', lambda m: m[0] if m[1] in used else "", text)
    text = text.replace(INK, "currentColor")
    for index, stand_in in enumerate(SERIES):
        text = text.replace(stand_in, f"var(--series-{index})")
    return Markup(text)  # matplotlib escapes the text that it draws
