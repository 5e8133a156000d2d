"""What standard output is in this world: ASCII only, full, closed, or left by its reader."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeconv import __version__
from support.tiny_models import write_onnx

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "from edgeconv.cli import main; main()"]
FULL = Path("/dev/full")


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([*COMMAND, *arguments], timeout=120, check=False, **given)


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=lambda variables: " ".join(variables),
)
def test_an_encoding_without_our_characters(variables: dict[str, str]) -> None:
    environment = os.environ | variables
    done = run("models", "mobilenet_v2", env=environment)
    assert done.returncode == 0, done.stderr
    code = (
        "from edgeconv.report import output, tables; output.prepare_streams(); "
        "tables.console().print('2 \\u00d7 3 \\u00b5s \\u2192 \\u6f22\\udcff'); "
        "output.echo_json(['\\xe9\\x9b\\u2192'])"
    )
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    line, document = shown.split(b"\n", 1)
    assert line in (rb"2 x 3 us -> \u6f22\xff", b"2 \xd7 3 \xb5s -> \\u6f22\\xff")
    assert json.loads(document.decode("ascii")) == ["é\x9b→"]


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["models"], ["models", "--json"], ["--help"], ["--version"]])
def test_a_full_disk(arguments: list[str]) -> None:
    with FULL.open("w") as full:
        done = run(*arguments, stdout=full)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "error: standard output cannot be written: No space left on device",
        "hint: free some space, or send it elsewhere",
    ]


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_after_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is kept, and the error says where."""
    monkeypatch.setenv("EDGECONV_HISTORY", str(tmp_path / "history.db"))
    monkeypatch.chdir(tmp_path)
    write_onnx(tmp_path / "m.onnx", shape=(1, 5, 8, 8))
    measured = ("bench", "m.onnx", "--runs", "2", "--seconds", "0", "--repetitions", "1", "-q")
    for arguments, kept in (
        ((*measured, "-o", "r.json"), "run 1 of the history and r.json"),
        (measured, "run 2 of the history"),
        (("inspect", "m.onnx", "--svg", "m.svg"), "m.svg"),
        (("export", "m.onnx", "--format", "onnx", "-o", "out"), "out"),
        (("predict", "out", "in.npz", "-o", "y.npz"), "y.npz"),
    ):
        np.savez(tmp_path / "in.npz", x=np.ones((1, 5, 8, 8), np.float32))
        with FULL.open("w") as full:
            done = run(*arguments, stdout=full)
        assert done.returncode == 1
        assert done.stderr.decode().splitlines()[-2:] == [
            "error: standard output cannot be written: No space left on device; the result is in "
            f"{kept}",
            "hint: free some space, or send it elsewhere",
        ]
    assert (tmp_path / "out" / "manifest.json").is_file()
    assert (tmp_path / "y.npz").is_file()


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "arguments", [["models", "no"], ["models", "no", "--json"], ["--debug", "x"]]
)
def test_errors_have_nowhere_to_go(arguments: list[str]) -> None:
    with FULL.open("w") as full:
        assert run(*arguments, stdout=full, stderr=full).returncode == 2
        assert run(*arguments, stderr=full).returncode == 2


def test_closed_streams() -> None:
    command = [*map(str, COMMAND[:1]), "-c", COMMAND[2]]
    for closed in ("1>&-", "2>&-", "1>&- 2>&-"):
        script = f'exec "$@" {closed}'
        done = subprocess.run(
            ["sh", "-c", script, "sh", *command, "--version"], capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode().strip() in ("", f"edgeconv, version {__version__}")


def test_no_file_takes_the_place_of_a_closed_stream() -> None:
    """What a native library writes to standard error would be written into it."""
    code = (
        "import sys; from edgeconv.report.output import prepare_streams; prepare_streams(); "
        "sys.exit(open(sys.executable).fileno() < 3)"
    )
    command = ["sh", "-c", 'exec "$@" 0>&- 1>&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(command, check=False).returncode == 0


def test_a_reader_that_leaves() -> None:
    script = '"$@" | true'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *COMMAND, "models"], capture_output=True, check=True
    )
    assert done.stderr == b""
