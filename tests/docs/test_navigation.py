"""The menu of the docs site has every page, and no other; it is tested without MkDocs, too."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CONFIG = (ROOT / "mkdocs.yml").read_text("utf-8")
MENU = re.findall(r"^ +- .*?([\w./-]+\.md)$", CONFIG.partition("\nnav:\n")[2], re.MULTILINE)
HOOKS = (DOCS / "site" / "hooks.py").read_text("utf-8")
GENERATED = set(re.findall(r'_add\(files, config, "([\w/.]+)"', HOOKS))


def test_the_menu_leads_to_pages() -> None:
    assert len(MENU) > 30
    assert len(set(MENU)) == len(MENU)
    assert [
        page
        for page in MENU
        if not ((DOCS / page).is_file() or (ROOT / page).is_file() or page in GENERATED)
    ] == []


def test_every_page_is_on_the_menu_or_linked_from_one_that_is() -> None:
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    linked = {
        (Path(page).parent / link).as_posix()
        for page in MENU
        if page.endswith("README.md") and (DOCS / page).is_file()
        for link in re.findall(r"\]\(([\w.-]+\.md)\)", (DOCS / page).read_text("utf-8"))
    }
    assert sorted(pages - set(MENU) - linked) == []


def test_what_the_configuration_names_exists() -> None:
    (scripts,) = re.findall(r"polyfills: \[([\w/.-]+)\]", CONFIG)
    assert (DOCS / scripts).is_file()
    for hook in re.findall(r"^  - (docs/[\w/.]+\.py)", CONFIG, re.MULTILINE):
        assert (ROOT / hook).is_file()
