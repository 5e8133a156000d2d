"""Charts by matplotlib: it draws PNG and SVG without a display and comes with types."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.user_folders import cache_folder
from edgeconv.whole_file import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size, in inches.

    Raises:
        EdgeconvError: matplotlib is not installed.
    """
    need_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def need_matplotlib() -> None:
    """Raise EdgeconvError unless matplotlib is installed."""
    try:
        with _own_folder():
            import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise EdgeconvError(
            "drawing needs matplotlib, which is not installed",
            hint="install it with `pip install 'edgeconv[plots]'`",
        ) from error


@contextmanager
def _own_folder() -> Iterator[None]:
    """Let matplotlib keep its list of fonts with our files, unless the user has named a folder.

    It reads the variable once, in its import, and would make folders of its own otherwise.
    """
    name = "MPLCONFIGDIR"
    if name in os.environ or "matplotlib" in sys.modules:
        yield
        return
    try:
        os.environ[name] = os.fspath(cache_folder() / "matplotlib")
    except UsageError:  # there is no home folder; matplotlib then takes a temporary one
        yield
        return
    try:
        yield
    finally:
        del os.environ[name]


def check_suffix(path: Path) -> None:
    """Raise UsageError unless the name of ``path`` says a format that can be drawn."""
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f"{path}: a picture is {' or '.join(SUFFIXES)}", hint=f"name it {path.stem}.png"
        )


def save(figure: Figure, path: Path) -> None:
    """Write the figure, whole or not at all; the format follows from the name."""
    with whole_file(path) as part:
        figure.savefig(part, dpi=120, format=path.suffix[1:])
