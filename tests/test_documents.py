"""Test that the Markdown pages refer only to files, headings and sources that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("docs", "benchmarks", "examples", ".github")
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))]
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
# A path of the tree in backticks, as in `export/pipeline.py` or `export/tflite/ops/`.
TOP = "benchmarks|docs|edgeconv|examples|export|models|tests"
PATH = re.compile(rf"`((?:{TOP})/[\w./-]*)`")
# A file of the same folder in backticks, as in `measuring.py`, in the pages of benchmarks/.
SCRIPT = re.compile(r"`([\w/]+\.py)`")


def _pages(folder: str = "") -> list[str]:
    pages = [page.relative_to(ROOT).as_posix() for page in PAGES]
    return [page for page in pages if page.startswith(folder)]


def _prose(page: str) -> str:
    """Read a page without its fenced code, which may name files of the reader's own."""
    return re.sub(r"^```.*?^```$", "", (ROOT / page).read_text("utf-8"), flags=re.M | re.S)


def _anchors(page: Path) -> set[str]:
    """Compute the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", _pages())
def test_links_lead_to_files_and_headings(page: str) -> None:
    broken = []
    for link in LINK.findall(_prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", _pages())
def test_paths_of_sources_exist(page: str) -> None:
    assert [path for path in PATH.findall(_prose(page)) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", _pages("benchmarks"))
def test_scripts_exist(page: str) -> None:
    folder = ROOT / "benchmarks"
    names = SCRIPT.findall(_prose(page))
    assert [n for n in names if not ((ROOT / n).exists() or (folder / n).exists())] == []


def test_pages_are_found() -> None:
    assert {"README.md", "docs/quantization.md", "benchmarks/README.md"} <= {
        page.relative_to(ROOT).as_posix() for page in PAGES
    }


# A document's own field, or a constant where a schema is not a document of `edgeconv.versioned`.
VERSION = re.compile(r"^(?:SCHEMA_VERSION|    schema_version: int) = (\d+)", re.MULTILINE)


def test_the_change_log_has_the_version_of_every_schema() -> None:
    stated = re.findall(
        r"\| `([\w/]+\.py)` \| (\d+) \|", (ROOT / "CHANGELOG.md").read_text("utf-8")
    )
    found = [
        (str(path.relative_to(ROOT)), version)
        for top in ("edgeconv", "export", "models")
        for path in (ROOT / top).rglob("*.py")
        if path.name != "writer.py"  # the version of TFLite's own schema
        for version in VERSION.findall(path.read_text("utf-8"))
    ]
    assert found
    assert sorted(stated) == sorted(found)


def test_ci_runs_what_the_readme_says() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    assert "run: bash .ci/run" in workflow
    assert "make test" in (ROOT / ".ci" / "run").read_text("utf-8")
