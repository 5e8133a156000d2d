"""Draw a terminal with what a tutorial's commands printed: ``make readme``."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import click
from remake import ROOT, page_steps
from rich.console import Console  # noqa: TID251 - it draws a page of ours and prints nothing
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

PAGE = ROOT / "docs" / "tutorials" / "own-network.md"
PICTURE = ROOT / "docs" / "images" / "terminal.svg"
SHOWN = ("edgeconv export", "edgeconv bench")
COLUMNS = 118
WIDTH = 800  # pixels: with it, README's first two screens end before its commands
VIEW_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')


def recording() -> str:
    """The SVG. It has no font of another server, so it looks the same without a network."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), highlight=False)
    for step in page_steps(PAGE.read_text("utf-8")):
        if step.command.startswith(SHOWN):
            console.print(Text(f"$ {step.command}", "bold green"))
            console.print(Text(step.output))
    svg = console.export_svg(title="edgeconv", theme=DIMMED_MONOKAI, unique_id="terminal")
    svg = VIEW_BOX.sub(_sized, svg, count=1)
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).rstrip() + "\n"


def _sized(view_box: re.Match[str]) -> str:
    """Rich leaves the size open, and a browser would fill the page."""
    height = WIDTH * float(view_box[2]) / float(view_box[1])
    return f'width="{WIDTH}" height="{height:.0f}" {view_box[0]}'


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=PICTURE)
def main(out: Path) -> None:
    """Write the picture."""
    out.write_text(recording(), "utf-8")


if __name__ == "__main__":
    main()
