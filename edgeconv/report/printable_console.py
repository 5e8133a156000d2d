"""The console of rich that prints nothing but printable text."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from edgeconv.printable import printable, without_middle


class PrintableConsole(Console):
    """A console on which a string is one line that comes to an end, whatever it holds.

    Cells of tables and steps of progress are made printable where they become ``Text``.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Render a string, a title or a heading."""
        return super().render_str(printable(without_middle(text)), **options)
