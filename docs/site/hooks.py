"""Hooks of MkDocs: pages from outside of docs/, links to the repository, pages from the code.

Every page keeps the links that work on GitHub. Here they are written as those of the site: to the
page, if the file is one, or to the file in the repository.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from reference import command_page, schema_page, schemas

ROOT = Path(__file__).parents[2]
# Pages that lie outside of docs/ and have a place on the site.
OUTSIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/**/*.md")
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):(?=<code>)")  # of docstrings


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    _add(files, config, "index.md", (ROOT / "README.md").read_text("utf-8"))
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            _add(files, config, path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
    _add(files, config, "reference/commands.md", command_page())
    _add(files, config, "reference/schemas.md", schema_page())
    for name, text in schemas().items():
        _add(files, config, f"reference/{name}", text)
    return files


def _add(files: Files, config: MkDocsConfig, name: str, text: str) -> None:
    files.append(File.generated(config, name, content=text))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write the links of a page as links of the site; what stands in fences stays as it is."""
    here = page.file.src_uri
    parts = FENCE.split(markdown)
    parts[::2] = [
        LINK.sub(lambda m: f"]({_link(m[1], here, files, config)})", p) for p in parts[::2]
    ]
    return "".join(parts)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leave out the roles of names in docstrings, of which the site knows nothing."""
    return ROLE.sub("", html)


def _link(link: str, here: str, files: Files, config: MkDocsConfig) -> str:
    """The link on the site for one that works in the repository, on the page ``here``."""
    name, hash_sign, anchor = link.partition("#")
    if not name or re.match(r"[a-z]+:", link):
        return link
    source = _in_repository(here)
    target = os.path.normpath((source.parent / name).as_posix())
    on_site = _on_site(target)
    if files.get_file_from_path(on_site) is not None:
        there = os.path.relpath(on_site, PurePosixPath(here).parent)
    elif files.get_file_from_path(link) is None and (ROOT / target).exists():
        kind = "tree" if (ROOT / target).is_dir() else "blob"
        return f"{config.repo_url}/{kind}/main/{target}"
    else:
        return link  # of a generated page, or broken: MkDocs says so
    return there + hash_sign + anchor


def _in_repository(page: str) -> PurePosixPath:
    """Where the source of a page lies in the repository."""
    if page == "index.md":
        return PurePosixPath("README.md")
    return PurePosixPath(page if (ROOT / page).exists() else f"docs/{page}")


def _on_site(path: str) -> str:
    """The name that a file of the repository would have on the site."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")
