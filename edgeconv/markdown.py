"""Text in Markdown."""

from __future__ import annotations

import re

from edgeconv.printable import printable

_SPECIAL = re.compile(r"[\\`*\[\]<>|~&]")


def in_markdown(text: str) -> str:
    """``text`` so that Markdown shows it as it is: no cells, tags, links, images or emphasis."""
    return _SPECIAL.sub(r"\\\g<0>", printable(text))
