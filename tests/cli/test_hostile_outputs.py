"""Names in files are not ours: parsers of what is written find them as text, and nothing else."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from edgeconv.bundle import Format, Precision
from edgeconv.cli import cli
from edgeconv.companion.write import write_companions
from edgeconv.markdown import in_markdown
from edgeconv.store.export import in_csv
from edgeconv.store.history import History
from edgeconv.store.revision import Revision
from edgeconv.store.sqlite import SQLiteFile
from support.manifests import made_artifact, made_manifest
from support.results import made_evaluation, made_model, made_result

pytestmark = pytest.mark.slow

NAMES = (
    "]]><script>alert(1)<b>",
    "\"><img src=x onerror=alert(1)> <a href='javascript:x'>y</a>",
    "\x1b]8;;http://evil\x07\x1b[31m\x00\x9b2J\r\n# head\n\n| a | b |\u202e\u2028\ufffe\ud800",
    "![p](http://evil/p.png) [x](y) <http://evil> www.evil.com _em_ **b** ~~s~~ `c` &amp; <b>",
    "=cmd|' /C calc'!A0",
    "$\\frac{",
    "{{ 7 * 7 }}{% raw %}${x}%s",
    "x" * 10_000,
)
# What our own pages and drawings are made of.
TAGS = {
    *("html", "head", "meta", "title", "link", "style", "body", "main", "header", "footer", "div"),
    *("h1", "h2", "h3", "p", "dl", "dt", "dd", "ul", "li", "span", "strong", "em", "section"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "details"),
    *("summary", "svg", "defs", "g", "path", "use", "clippath", "rect", "circle", "text", "tspan"),
    *("img", "code", "nav", "br"),
}


class Page(HTMLParser):
    """The tags, the attributes and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def assert_tame_page(file: Path) -> None:
    text = file.read_text("utf-8")
    assert all(map(str.isprintable, text.split("\n")))
    page = Page(text)
    assert page.tags <= TAGS, page.tags - TAGS
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href", "action"):
            assert value.startswith(("data:", "#")), value


def assert_tame_markdown(text: str) -> None:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    for token in parser.parse(text):
        assert token.type not in ("html_block", "fence", "code_block", "hr")
        for inner in token.children or ():
            assert inner.type in ("text", "softbreak", "strong_open", "strong_close"), inner


@pytest.fixture
def results(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of results, of which each name is hostile."""
    before, after = tmp_path / "before", tmp_path / "after"
    for folder, factor, names in ((before, 1, NAMES), (after, 2, NAMES[:-1])):
        folder.mkdir()
        models = [
            made_model(name, [factor * 1_000_000 + 1000 * step for step in range(4)])
            for name in names
        ]
        made_result(*models, device=NAMES[1]).save(folder / "]]><b>.json")
        outcomes = [True] * 60 + [False] * (factor * 40)
        made_evaluation(dict.fromkeys(names, outcomes[:100])).save(folder / "accuracy.json")
    return before, after


def run(*arguments: object) -> str:
    done = CliRunner().invoke(cli, list(map(str, arguments)))
    assert done.exit_code in (0, 1, 3), done.output
    return done.output


@pytest.mark.parametrize("command", ["gate", "compare"])
def test_verdicts(
    results: tuple[Path, Path], command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    before, after = results
    places = [after, "--baseline", before] if command == "gate" else [before, after]
    html, markdown, junit = (tmp_path / name for name in ("p.html", "p.md", "j.xml"))
    run(command, *places, "--html", html, "--markdown", markdown, "--junit", junit)
    assert_tame_page(html)
    for file in (markdown, tmp_path / "step.md"):
        assert_tame_markdown(file.read_text("utf-8"))
    rows = [line for line in markdown.read_text("utf-8").splitlines() if line.startswith("| ")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 2  # two kinds of tables
    root = ElementTree.parse(junit).getroot()
    kinds = {"testsuites", "testsuite", "testcase", "failure", "error", "system-out"}
    assert {element.tag for element in root.iter()} <= kinds
    found = {case.get("name") for case in root.iter("testcase")}
    assert NAMES[0] in found
    assert len(found) >= len(NAMES) - 1  # compare has no case of a file that one result lacks


def test_reports_and_history(
    results: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("EDGECONV_HISTORY", str(tmp_path / "history.db"))
    history = History(SQLiteFile(tmp_path / "history.db"))
    models = [made_model(name, [1_000_000] * 3) for name in NAMES]
    history.add(made_result(*models, device=NAMES[4]), Revision(NAMES[4], changed=True))
    run("report", *results[0].iterdir(), "-o", tmp_path / "p.html", "--title", NAMES[1])
    assert_tame_page(tmp_path / "p.html")
    run("history", "--export", "csv", tmp_path / "h.csv")
    for text in (run("history", "--csv", "--limit", "99"), (tmp_path / "h.csv").read_text("utf-8")):
        head, *rows = csv.reader(text.splitlines())
        assert len(rows) == len(NAMES)
        assert {len(row) for row in rows} == {len(head)}
        assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@", "-"))]


def test_the_card_of_a_bundle(tmp_path: Path) -> None:
    labels = tuple(NAMES)
    manifest = made_manifest((1, 3, 8, 8), (1, len(labels)), labels=labels)
    artifact = made_artifact("m.onnx", Format.ONNX, Precision.FLOAT32)
    artifact = artifact.model_copy(
        update={"inputs": manifest.inputs, "outputs": manifest.outputs, "lowest_runtime": NAMES[3]}
    )
    changes = {"model": NAMES[3], "edgeconv_version": NAMES[0], "artifacts": (artifact,)}
    write_companions(tmp_path, manifest.model_copy(update=changes))
    text = (tmp_path / "README.md").read_text("utf-8")
    assert all(map(str.isprintable, text.split("\n")))
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = parser.parse(text)
    assert [token for token in tokens if token.type in ("html_block", "hr")] == []
    inside = {inner.type for token in tokens for inner in token.children or ()}
    assert inside <= {"text", "softbreak", "code_inline", "strong_open", "strong_close"}
    assert len((tmp_path / "labels.txt").read_text("utf-8").splitlines()) == len(labels)


# What is not of one line is written as escapes first.
LINES = st.text(st.characters(codec="utf-8"), max_size=30) | st.text("#-+=_*~`[]()<>!1.) \\|&ab:/w")


@given(LINES)
@example("- x")
@example("## x")
@example("12. x")
@example("===")
@example("_ _ _")
@example("https://evil.com")
def test_any_text_is_text_in_markdown(text: str) -> None:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    shown = in_markdown(text)
    for before in ("", "- ", "before\n"):
        tokens = parser.parse(before + shown)
        assert {t.type for t in tokens} <= {
            *("inline", "paragraph_open", "paragraph_close"),
            *("bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"),
        }, (before, shown)
        inner = [each for token in tokens for each in token.children or ()]
        assert {each.type for each in inner} <= {"text", "softbreak"}
        assert [t.type for t in tokens].count("bullet_list_open") == (before == "- ")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-x.onnx", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert in_csv(text)[0] in "'\\"


def test_other_cells_stay() -> None:
    assert [in_csv(text) for text in ("a=b.onnx", "mobilenet_v2-1.0.tflite", "")] == [
        "a=b.onnx", "mobilenet_v2-1.0.tflite", "",
    ]  # fmt: skip
