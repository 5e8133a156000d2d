import subprocess
import sys

import pytest

from edgeconv.report import tables


def test_piped_tables_are_never_wrapped_or_cut(capsys: pytest.CaptureFixture[str]) -> None:
    long = "layer/" * 60
    tables.console().print(
        tables.table(["name", tables.Column("MACs", numeric=True)], [[long, "1"]])
    )
    head, row = capsys.readouterr().out.splitlines()
    assert row.split() == [long, "1"]
    assert head.rstrip().endswith("MACs")


def test_numbers_end_in_one_column(capsys: pytest.CaptureFixture[str]) -> None:
    columns = ["file", tables.Column("size", numeric=True)]
    tables.console().print(tables.table(columns, [["a", "3.50 MB"], ["bb", "14.0 kB"]]))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert len({len(line) for line in lines}) == 1


def test_names_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    tables.console().print(tables.table(["name"], [["[red]x[/red]"], [":smile:"]]))
    assert capsys.readouterr().out.split() == ["name", "[red]x[/red]", ":smile:"]


def test_control_characters_never_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    tables.console().print(tables.table(["name"], [["\x1b[2Jgone\nline\u202e"]]))
    out = capsys.readouterr().out
    assert "\\x1b[2Jgone\\nline\\u202e" in out
    assert "\x1b" not in out


def test_no_color_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    tables.console().print(tables.table(["name"], [["a"]], title="bold title"))
    tables.error_console().print("failed", style="red")
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert captured.err == "failed\n"


def test_progress_is_silent_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    with tables.progress("Calibrating", quiet=False) as show:
        show("Calibrating", 1, 2)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_importing_does_not_import_rich() -> None:
    code = "import sys, edgeconv.report.tables; assert 'rich' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
