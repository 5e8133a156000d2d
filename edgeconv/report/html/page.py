"""The page: sections of tables and charts, in one file that needs no other.

Jinja2 writes it, because it escapes what is put in; torch brings it in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from edgeconv.printable import printable
from edgeconv.report.tables import Column

if TYPE_CHECKING:
    from edgeconv.report.html.charts import Chart


_SCREEN = 40  # rows


@dataclass(frozen=True)
class Bar:
    """A cell with a bar behind its text; ``share`` of the cell's width, from 0 to 1."""

    text: str
    share: float

    @property
    def width(self) -> str:
        """The width for the style sheet."""
        return f"{100 * min(max(self.share, 0.0), 1.0):.1f}%"


Cell = str | Bar
Block: TypeAlias = "HtmlTable | Chart | Gallery"


@dataclass(frozen=True)
class HtmlTable:
    """A table; one with more than a screen of rows is ``folded`` until the reader opens it."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def folded(self) -> bool:
        """Whether it is longer than a screen."""
        return len(self.rows) > _SCREEN


@dataclass(frozen=True)
class Photo:
    """A small picture, as PNG in base64, with what there is to say of it."""

    png: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Gallery:
    """Small pictures side by side."""

    title: str
    photos: tuple[Photo, ...]


@dataclass(frozen=True)
class Section:
    """What the page says of one bundle or result.

    Attributes:
        title: The heading.
        facts: Pairs of a name and a value.
        blocks: Tables, charts and pictures, in order.
        notes: What the reader must know besides, a sentence each.
    """

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    blocks: tuple[Block, ...] = ()
    notes: tuple[str, ...] = ()


def html_table(
    title: str, columns: Sequence[Column | str], rows: Sequence[Sequence[Cell]]
) -> HtmlTable:
    """A table; a bare string is a column of text."""
    named = tuple(c if isinstance(c, Column) else Column(c) for c in columns)
    return HtmlTable(title, named, tuple(tuple(row) for row in rows))


def render(title: str, sections: Sequence[Section], made_by: str) -> str:
    """Write the page.

    Args:
        title: Its title.
        sections: What it says.
        made_by: The program and its version, for the last line.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("edgeconv.report.html", ".")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = printable
    environment.tests["bar"] = lambda value: isinstance(value, Bar)
    environment.tests["table"] = lambda value: isinstance(value, HtmlTable)
    environment.tests["gallery"] = lambda value: isinstance(value, Gallery)
    page = environment.get_template("page.html")
    return page.render(title=title, sections=sections, made_by=made_by)
