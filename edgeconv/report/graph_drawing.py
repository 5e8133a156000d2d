"""Draw a graph from top to bottom: a row for each node, and branches in lanes side by side.

The lanes are those of a version history: a picture of 500 operators is no wider than its text, and
every row keeps the text beside it.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeconv.printable import printable, shortened

if TYPE_CHECKING:
    from edgeconv.export.inspect.drawn import DrawnNode

_ROW, _LANE, _TOP = 24, 16, 56
_OPERATOR, _RESULT = 190, 220  # widths of the columns
_LETTER, _LONGEST = 7.3, 64
_STYLE = """
svg { color-scheme: light dark; background: #fff; font: 12px ui-monospace, monospace; }
text { fill: #1b1f24; } .quiet { fill: #57606a; }
path { fill: none; stroke: #8c959f; stroke-width: 1.5; }
.integer { fill: #0b62c4; } .float { fill: #b3460b; } .border { fill: #57606a; }
@media (prefers-color-scheme: dark) {
  svg { background: #14171b; } text { fill: #e4e8ee; } .quiet { fill: #9aa4b2; }
  .integer { fill: #6cb0ff; } .float { fill: #ff9a5c; } .border { fill: #9aa4b2; }
}
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; }}
body {{ background: #fff; margin: 0; }}
div {{ overflow-x: auto; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #14171b; }} }}
</style>
</head>
<body><div>{svg}</div></body>
</html>
"""


def lanes(nodes: Sequence[DrawnNode]) -> list[int]:
    """The lane of each node; the line of its result keeps that lane until its last reader."""
    last = list(range(len(nodes)))
    for row, node in enumerate(nodes):
        for source in node.sources:
            last[source] = row
    taken: dict[int, int] = {}  # lane to the row that it is kept for
    found: list[int] = []
    for row, node in enumerate(nodes):
        taken = {lane: until for lane, until in taken.items() if until > row}
        ending = [found[source] for source in node.sources if last[source] == row]
        lane = min(ending) if ending else next(k for k in range(row + 1) if k not in taken)
        found.append(lane)
        if last[row] > row:
            taken[lane] = last[row]
    return found


def graph_svg(nodes: Sequence[DrawnNode], title: str) -> str:
    """The drawing as SVG that needs no other file, in light and dark."""
    columns = lanes(nodes)
    text = (max(columns, default=0) + 2) * _LANE
    longest = max((len(shortened(node.name, _LONGEST)) for node in nodes), default=0)
    heading = [(f"{title}: {len(nodes)} nodes", 16), ("integer", 88), ("float", 176)]
    width = max(text + _OPERATOR + _RESULT + longest * _LETTER, len(heading[0][0]) * _LETTER) + 32
    height = _TOP + _ROW * len(nodes)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}" role="img">',
        f"<title>{_escaped(title)}</title><style>{_STYLE}</style>",
        f'<text x="16" y="20">{_escaped(heading[0][0])}</text>',
        _mark("integer", 16, 36), '<text x="28" y="40">integer</text>',
        _mark("float", 96, 36), '<text x="108" y="40">float</text>',
        _mark("border", 160, 36), '<text x="172" y="40">conversion, input, output</text>',
    ]  # fmt: skip
    for row, node in enumerate(nodes):
        parts += [_line(columns, source, row) for source in node.sources]
    for row, node in enumerate(nodes):
        parts.append(_row(node, _x(columns[row]), _y(row), text))
    return "\n".join([*parts, "</svg>"])


def graph_page(nodes: Sequence[DrawnNode], title: str) -> str:
    """The drawing in a page of HTML."""
    return _PAGE.format(title=_escaped(title), svg=graph_svg(nodes, title))


def _x(lane: int) -> int:
    return _LANE * (lane + 1)


def _y(row: int) -> int:
    return _TOP + _ROW * row + _ROW // 2


def _line(columns: Sequence[int], source: int, row: int) -> str:
    """Down the lane of the source, and aside in the last row."""
    begin, end = _x(columns[source]), _x(columns[row])
    turn = _y(row - 1)
    down = f"M{begin} {_y(source)}V{turn}"
    return f'<path d="{down}C{begin} {_y(row)} {end} {turn} {end} {_y(row)}"/>'


def _mark(region: str, x: int, y: int) -> str:
    """A square for integers, a disk for float, so that they differ in more than color."""
    if region == "integer":
        return f'<rect class="integer" x="{x - 5}" y="{y - 5}" width="10" height="10"/>'
    radius = 6 if region == "float" else 4
    return f'<circle class="{region}" cx="{x}" cy="{y}" r="{radius}"/>'


def _row(node: DrawnNode, x: int, y: int, text: int) -> str:
    region = node.region.value
    name = f"<title>{_escaped(node.name)}</title>{_escaped(shortened(node.name, _LONGEST))}"
    return (
        f'{_mark(region, x, y)}<text class="{region}" x="{text}" y="{y + 4}">'
        f'{_escaped(shortened(node.operator, 24))}</text><text x="{text + _OPERATOR}" y="{y + 4}">'
        f'{_escaped(shortened(node.result, 28))}</text><text class="quiet" '
        f'x="{text + _OPERATOR + _RESULT}" y="{y + 4}">{name}</text>'
    )


def _escaped(text: str) -> str:
    return html.escape(printable(text))
