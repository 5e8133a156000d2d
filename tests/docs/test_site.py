"""The docs site builds without a warning, and loads nothing from another server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("material", reason="mkdocs-material is not installed (extra docs)")
pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed (extra docs)")

ROOT = Path(__file__).parents[2]
LOADED = re.compile(
    r"<(?:script|img|iframe)\b[^>]*\bsrc=[\"']?https?:|<link\b[^>]*stylesheet[^>]*https?:"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, copy = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "edgeconv", copy / "edgeconv")
    for part in ("export", "models"):
        shutil.copytree(ROOT / part, copy / "edgeconv" / part)
    environment = {
        **os.environ,
        "EDGECONV_PACKAGE": str(copy),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    ran = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.mark.slow
def test_nothing_is_loaded_from_another_server(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    assert [page.name for page in pages if LOADED.search(page.read_text("utf-8"))] == []


@pytest.mark.slow
def test_the_reference_is_made_from_the_code(site: Path) -> None:
    commands = (site / "reference" / "commands.html").read_text("utf-8")
    assert "--calibration-size" in commands
    assert "edgeconv devices provision" in commands
    assert "Args" not in (site / "reference" / "schemas.html").read_text("utf-8")
    python = (site / "reference" / "python.html").read_text("utf-8")
    assert 'id="edgeconv.export.api.export"' in python
    assert 'id="edgeconv.export.request.ExportRequest"' in python
    assert ":class:" not in python
    assert (site / "reference" / "Manifest.schema.json").exists()


@pytest.mark.slow
def test_pages_that_are_opened_from_a_disk_can_be_searched(site: Path) -> None:
    index = (site / "search" / "search_index.js").read_text("utf-8")
    assert index.startswith("var __index = {")
    assert 'src="javascripts/iframe-worker.js"' in (site / "index.html").read_text("utf-8")
    assert (site / "javascripts" / "iframe-worker.js").is_file()
