"""Fill in the templates of the files beside a bundle's model files."""

from __future__ import annotations

import pprint
from typing import Any

from edgeconv.markdown import in_markdown
from edgeconv.printable import printable

_LINE = 100


def rendered(template: str, values: dict[str, Any]) -> str:
    """The text of a template of this package."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(  # text, not HTML: the filters escape
        loader=PackageLoader("edgeconv.companion", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "c": c_literal,
        "literal": repr,
        "lines": lambda value: pprint.pformat(value, width=_LINE, compact=True),
        "markdown": in_markdown,
        "printable": printable,
    }
    return environment.get_template(template).render(values)


def c_literal(text: str) -> str:
    """A string literal of C++: what is not a plain character of ASCII is written in octal."""
    plain = {byte for byte in range(32, 127) if chr(byte) not in '"\\?'}
    octal = (chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode("utf-8"))
    return f'"{"".join(octal)}"'
