"""Charts by matplotlib: it draws PNG and SVG without a display and comes with types."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.errors import EdgeconvError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size, in inches.

    Raises:
        EdgeconvError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise EdgeconvError(
            "drawing needs matplotlib, which is not installed",
            hint="install it with `pip install 'edgeconv[plots]'`",
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def check_suffix(path: Path) -> None:
    """Raise UsageError unless the name of ``path`` says a format that can be drawn."""
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f"{path}: a picture is {' or '.join(SUFFIXES)}", hint=f"name it {path.stem}.png"
        )


def save(figure: Figure, path: Path) -> None:
    """Write the figure; the format follows from the name."""
    figure.savefig(path, dpi=120)
