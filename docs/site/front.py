"""Draw the front of accuracy against cost that a sweep of a tutorial found: ``make readme``.

It is the chart of `edgeconv report`, with colors of its own, because README's pictures stand alone.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

import click
from remake import ROOT, page_steps

from edgeconv.report.html.charts import Point, front
from edgeconv.units import bytes_of

PAGE = ROOT / "docs" / "tutorials" / "sweep.md"
PICTURE = ROOT / "docs" / "images" / "front.svg"
SIZE = re.compile(r'width="([\d.]+)pt" height="([\d.]+)pt"')
WIDTH = 600  # pixels
SWEEP = "edgeconv sweep plan.toml --all"
ROW = re.compile(
    r"^\S+:make width=(?P<width>\d+)\s+(?P<precision>\S+) tflite\s+(?P<top1>[\d.]+)%"
    r"\s+(?P<count>[\d.]+) (?P<unit>[kM])\s+(?P<size>[\d.]+ \wB)(?P<star>\s+\*)?$",
    re.MULTILINE,
)
UNITS = {"k": 1e-3, "M": 1.0}  # millions
# The page's colors, light and dark, for a picture that is not on a page.
STYLE = """<style>
svg { color: #1b1f24; font-family: system-ui, sans-serif;
  --series-0: #0b62c4; --series-1: #b3460b; --series-2: #1a7f4b; --series-3: #7a3fb0;
  --series-4: #a8204e; --series-5: #806000; }
@media (prefers-color-scheme: dark) { svg { color: #e4e8ee;
  --series-0: #6cb0ff; --series-1: #ff9a5c; --series-2: #5fd39a; --series-3: #c79bff;
  --series-4: #ff8fb3; --series-5: #e0c050; } }
</style>"""


def points(page: str) -> list[Point]:
    """The rows of the sweep's table; costs are million instructions, accuracies percent."""
    (table,) = (step.output for step in page_steps(page) if step.command.startswith(SWEEP))
    return [
        Point(
            name=f"width {row['width']}, {row['precision']}",
            cost=float(row["count"]) * UNITS[row["unit"]],
            accuracy=float(row["top1"]),
            bytes=bytes_of(row["size"].replace(" ", "")),
            on_front=row["star"] is not None,
        )
        for row in ROW.finditer(table)
    ]


def description(shown: list[Point]) -> str:
    """What the picture shows, in words: a test holds it against the page."""
    parts = [f"{p.name}: {p.accuracy:g}% for {p.cost:g} M instructions" for p in shown]
    return "Accuracy against cost. " + "; ".join(parts)


def picture(page: str) -> str:
    """The SVG."""
    shown = points(page)
    cost = "million instructions of one inference on a Cortex-A72"
    svg = str(front("", shown, cost, "top-1 on held-out digits, %").svg)
    svg = SIZE.sub(lambda size: _sized(float(size[1]), float(size[2])), svg, count=1)
    head, tag, rest = svg.partition(">")
    return f"{head}{tag}<desc>{escape(description(shown))}</desc>{STYLE}{rest}".rstrip() + "\n"


def _sized(width: float, height: float) -> str:
    return f'width="{WIDTH}" height="{WIDTH * height / width:.0f}"'


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=PICTURE)
def main(out: Path) -> None:
    """Write the picture."""
    out.write_text(picture(PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
