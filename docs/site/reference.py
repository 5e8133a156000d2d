"""Pages of the site that are made from the code: the command line and the JSON schemas."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path

import click

from edgeconv.cli import cli
from edgeconv.versioned import Versioned

ROOT = Path(__file__).parents[2]
WIDTH = 80  # columns of a help text: more do not fit on a page of the site
PACKAGES = {"edgeconv": "edgeconv", "export": "edgeconv.export"}


def command_page() -> str:
    """The help of every command, as `--help` prints it."""
    parts = ["# Command line\n", "Each section is what `--help` prints.\n"]
    for context in _contexts(click.Context(cli, info_name="edgeconv")):
        text = context.get_help()
        parts.append(f"## {context.command_path}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def _contexts(context: click.Context) -> Iterator[click.Context]:
    """A command and all below it."""
    context.max_content_width = context.terminal_width = WIDTH
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None and not command.hidden:
                yield from _contexts(click.Context(command, parent=context, info_name=name))


def documents() -> list[type[Versioned]]:
    """The JSON documents that edgeconv writes from records, by name."""
    for top, package in PACKAGES.items():
        for path in (ROOT / top).rglob("*.py"):
            if "(Versioned)" in path.read_text("utf-8"):
                parts = path.relative_to(ROOT / top).with_suffix("").parts
                importlib.import_module(".".join((package, *parts)))
    return sorted(Versioned.__subclasses__(), key=lambda document: document.__name__)


def schemas() -> dict[str, str]:
    """The JSON schema of every document, by the name of its file."""
    return {
        f"{document.__name__}.schema.json": json.dumps(document.model_json_schema(), indent=2)
        for document in documents()
    }


def schema_page() -> str:
    """A table of the documents, with their versions and their schemas."""
    lines = [
        "# JSON schemas\n",
        "Each document states its `schema_version`, and those that a person may keep and hand to",
        "another command a `kind`. Those that only `--json` prints are named after their command;",
        "with several devices, `bench --json` prints a list of results. The schemas have the form",
        "of JSON Schema. The [change log](../CHANGELOG.md) has the version of each.\n",
        "| document | kind | version | schema |",
        "| --- | --- | --- | --- |",
    ]
    for document in documents():
        fields = document.model_fields
        kind = fields["kind"].default if "kind" in fields else None
        name = f"{document.__name__}.schema.json"
        version = fields["schema_version"].default
        lines.append(
            f"| {_title(document)} | {f'`{kind}`' if kind else ''} | {version} | [{name}]({name}) |"
        )
    return "\n".join(lines) + "\n"


def _title(document: type[Versioned]) -> str:
    summary = (document.__doc__ or document.__name__).splitlines()[0].replace("``", "`")
    where = "" if document.WHAT == Versioned.WHAT else f"{document.WHAT}: "
    return f"{where}{summary}"
