"""The examples that draw refuse a bad ``--out`` in one line, before they work."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from examples import checkerboard, gradient_flow  # after what they need

COMMANDS = [checkerboard.main, gradient_flow.main]


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_picture_is_refused(command: click.Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "picture.txt", tmp_path / "file" / "picture.png"):
        result = CliRunner().invoke(command, ["--out", str(out)])
        assert result.exit_code == 2
        assert str(tmp_path / "file" if out.suffix == ".png" else out) in result.output


def test_the_folder_of_a_picture_is_made(tmp_path: Path) -> None:
    out = tmp_path / "new" / "board.svg"
    result = CliRunner().invoke(checkerboard.main, ["--out", str(out)], catch_exceptions=False)
    assert "unevenness" in result.output
    assert out.read_text().rstrip().endswith("</svg>")
