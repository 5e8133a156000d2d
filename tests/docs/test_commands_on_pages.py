"""Commands and options that any page names exist, in blocks and between backticks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from edgeconv.cli import cli
from support.commands import ALL

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "benchmarks", "examples", ".github")
# CHANGELOG.md also names what is gone.
PAGES = sorted(
    [
        *(page for page in ROOT.glob("*.md") if page.name != "CHANGELOG.md"),
        *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md")),
    ]
)
FENCE = re.compile(r"^ *```[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`]+)`")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
COMMAND = re.compile(r"^(?:\$ )?(?:[\w.-]*/bin/)?edgeconv(?: (.*))?$")
# Programs of others whose options pages name, too.
OTHERS = re.compile(r"^(?:git|pip|python3?|make|dask|srun|sha256sum|docker|pytest|ssh)\b")
GLOBAL = {option for parameter in cli.params for option in parameter.opts} | {"--help"}
OPTIONS = GLOBAL | {
    option
    for command in ALL.values()
    for parameter in command.params
    for option in (*parameter.opts, *parameter.secondary_opts)
}
# Options of other programs that stand alone.
NOT_OURS = {"--dist", "--resources", "--aimet", "--peer-folder", "--use_xnnpack"}


def _code(page: Path) -> list[str]:
    """What stands in blocks, line by line, and between backticks."""
    text = page.read_text("utf-8")
    blocks = "".join(FENCE.findall(text)).replace("\\\n", " ").splitlines()
    prose = FENCE.sub("", text)
    indented = [line for line in prose.splitlines() if line.startswith("    ")]
    return [re.sub(r"\s+", " ", code).strip() for code in (*blocks, *indented, *_inline(prose))]


def _inline(prose: str) -> list[str]:
    return [code for code in CODE.findall(prose) if "\n\n" not in code]


def _unknown(code: list[str]) -> Iterator[str]:
    """The commands of edgeconv that do not exist or lack an option that they are given."""
    for line in code:
        match = COMMAND.match(line)
        if match is None:
            continue
        words = re.split(r" (?:[|>;#]|\|\||&&|2>) ?", f"{match[1] or ''} ")[0].split()
        node = _command(words)
        if node is None:
            yield line
            continue
        known = GLOBAL | {name for p in node.params for name in (*p.opts, *p.secondary_opts)}
        asked = {word.strip("[]").split("=")[0] for word in words if "--" in word[:3]}
        if asked - known:
            yield line


def _command(words: list[str]) -> click.Command | None:
    """The command that these words after `edgeconv` call; None if there is none."""
    node: click.Command = cli
    context = click.Context(cli)
    for word in words:
        if not isinstance(node, click.Group) or not re.fullmatch(r"[a-z]+", word):
            break
        command = node.get_command(context, word)
        if command is None and node.name == "sweep":
            break
        if command is None:
            return None
        node = command
    if isinstance(node, click.Group) and node.name == "sweep":  # as the group itself does
        return node.get_command(context, "run")
    return node


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_and_options_exist(page: Path) -> None:
    code = _code(page)
    assert list(_unknown(code)) == []
    named = {
        option
        for text in _inline(FENCE.sub("", page.read_text("utf-8")))
        if not OTHERS.match(text)
        for option in OPTION.findall(text)
    }
    assert named - OPTIONS - NOT_OURS == set()


def test_a_wrong_command_or_option_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "`edgeconv bench out --secnds 1`, `edgeconv exprt x` and `edgeconv sweep p --workers 0`\n\n"
        "```\nedgeconv bench out \\\n    --device local --treads 2\n```\n"
        "1. A step:\n\n        edgeconv devices prob x\n"
    )
    assert sorted(_unknown(_code(page))) == [
        "edgeconv bench out --device local --treads 2",
        "edgeconv bench out --secnds 1",
        "edgeconv devices prob x",
        "edgeconv exprt x",
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_targets_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = [re.match(r"(?:\$ )?make ([a-z -]+)", code) for code in _code(page)]
    assert {target for match in named if match for target in match[1].split()} <= targets
