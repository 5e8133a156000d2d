"""Text in Markdown."""

from __future__ import annotations

import re

from edgeconv.printable import printable, without_middle

_MOST = 1000  # characters of a name, or of a sentence with one
# An underscore within a word is none of emphasis, and file names are full of them.
_SPECIAL = re.compile(r"[\\`*\[\]<>|~&]|(?<![^\W_])_|_(?![^\W_])")
_ADDRESS = re.compile(r":(?=//)|(?<=\bwww)\.", re.IGNORECASE)
# The begin of a numbered item; of an item, a heading, or a line across the page.
_BEGIN = re.compile(r"^(\d{1,9}(?=[.)](?:\s|$))|(?=[-+#=]+(?:\s|$)))(.)")


def in_markdown(text: str) -> str:
    """``text`` so that Markdown shows it as it is: no cells, tags, links, images or emphasis.

    It may stand in a line of its own, and be an item of a list. One without end loses its middle.
    """
    text = without_middle(printable(text), _MOST)
    text = _SPECIAL.sub(r"\\\g<0>", text.strip())
    return _BEGIN.sub(r"\1\\\2", _ADDRESS.sub(r"\\\g<0>", text))
