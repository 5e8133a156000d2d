"""docs/operators.md says what the registry says."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeconv.export.tflite import operators_page as document
from edgeconv.export.tflite import supported_operators

PAGE = Path(__file__).parents[3] / "docs" / "operators.md"


def test_it_is_current() -> None:
    assert PAGE.read_text("utf-8") == document.page(), "run make docs"


@pytest.mark.parametrize("name", ["Conv", "MaxPool", "Softplus", "QuantizeLinear"])
def test_it_names_the_operators(name: str) -> None:
    assert f"| {name} | yes |" in document.page()


def test_it_has_a_row_for_each() -> None:
    assert document.page().count(" | yes | ") == len(supported_operators())


def test_it_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "page.md"
    assert CliRunner().invoke(document.main, ["-o", str(out)]).exit_code == 0
    assert out.read_text("utf-8") == document.page()
