"""The command that is proposed after another one: it can be copied, and no program reads it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from edgeconv.cli import cli
from edgeconv.cli.next_command import suggest
from edgeconv.evaluation import Accuracy, AgainstFloat, Figure
from edgeconv.sweep.result import Limits, SweepResult
from support.tiny_models import write_onnx

QUICK = ["--runs", "1", "--seconds", "0", "--repetitions", "1", "--warmup", "0", "--no-history"]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("bench", Path("out")), ["bench", "out"]),
        (("bench", Path("my out; rm -r $HOME")), ["bench", "my out; rm -r $HOME"]),
        (("bench", Path("it's")), ["bench", "it's"]),
        (("bench", Path("-q")), ["bench", "./-q"]),
        (("sweep", "best", "--early-exit"), ["sweep", "best", "--early-exit"]),
    ],
)
def test_names_are_quoted_for_the_shell(
    words: tuple[str | Path, ...], shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    suggest(*words)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("next: edgeconv ")
    read = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {captured.err.removeprefix('next: edgeconv ')}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert read.stdout.splitlines() == shown


@pytest.mark.parametrize("name", ["a\x1b[31mb", "two\nlines", "not-utf8-\udcff"])
def test_no_command_that_could_not_be_copied(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    suggest("bench", Path(name))
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_bench_proposes_a_page_but_not_to_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_onnx(Path("tiny.onnx"))
    measure = ["bench", "tiny.onnx", *QUICK]
    said = CliRunner().invoke(cli, [*measure, "-o", "my result.json"])
    assert said.exit_code == 0, said.output
    assert said.stderr.splitlines()[-1] == "next: edgeconv report 'my result.json'"
    for silent in ("--json", "--quiet"):
        done = CliRunner().invoke(cli, [*measure, "-o", "r.json", silent])
        assert done.exit_code == 0
        assert "next:" not in done.output
        assert "tiny.onnx" in done.stdout
    assert CliRunner().invoke(cli, shlex.split(said.stderr.splitlines()[-1])[2:]).exit_code == 0


@pytest.mark.slow
def test_export_proposes_to_measure(tmp_path: Path) -> None:
    done = subprocess.run(
        [*(sys.executable, "-m", "edgeconv", "export", "resnet8", "--format", "onnx"), "-o", "a b"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "next: edgeconv bench 'a b'"
    assert "next:" not in done.stdout


def test_a_network_of_the_zoo_is_proposed_for_export() -> None:
    done = CliRunner().invoke(cli, ["models", "mobilenet_v2"])
    assert done.stderr == "next: edgeconv export mobilenet_v2 --pretrained\n"
    assert CliRunner().invoke(cli, ["models", "mobilenet_v2", "--json"]).stderr == ""


@pytest.mark.parametrize(
    ("better", "interval", "loses"),
    [
        ("higher", (-0.3, -0.2, -0.1), True),
        ("higher", (-0.3, -0.1, 0.1), False),
        ("higher", (0.1, 0.2, 0.3), False),
        ("lower", (0.1, 0.2, 0.3), True),
        ("lower", (None, 0.2, None), False),
    ],
)
def test_a_file_loses_if_that_is_more_than_chance(
    better: str, interval: tuple[float | None, float, float | None], loses: bool
) -> None:
    low, change, high = interval
    figure = Figure(name="figure", value=0.5, unit="", better=better, samples=10)  # type: ignore[arg-type]
    found = AgainstFloat(path="float.onnx", change=change, low=low, high=high)
    accuracy = Accuracy(
        path="a.onnx", bytes=1, runtime="x 1", figures=(figure,), against_float=found
    )
    assert accuracy.loses is loses


@pytest.mark.slow
def test_what_looks_at_files_proposes_to_measure_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_onnx(Path("tiny.onnx"))
    done = CliRunner().invoke(cli, ["inspect", "tiny.onnx"])
    assert done.stderr == "next: edgeconv bench tiny.onnx\n"
    assert CliRunner().invoke(cli, ["inspect", "tiny.onnx", "--json"]).stderr == ""
    made = CliRunner().invoke(cli, ["export", "tiny.onnx", "--format", "onnx", "-o", "out", "-q"])
    assert made.exit_code == 0, made.output
    for words, proposed in ((["--quick"], "verify"), ([], "bench"), (["-q"], None)):
        done = CliRunner().invoke(cli, ["verify", "out", *words])
        last = done.stderr.splitlines()[-1:]
        assert last == ([] if proposed is None else [f"next: edgeconv {proposed} out"])


def test_a_network_whose_cost_was_shown_is_proposed_for_export() -> None:
    shown = CliRunner().invoke(cli, ["cost", "resnet8", "--no-layers"])
    assert shown.stderr == "next: edgeconv export resnet8\n"
    for words in (["--json"], ["--input-size", "64"]):
        assert "next:" not in CliRunner().invoke(cli, ["cost", "resnet8", *words]).stderr


@pytest.mark.slow
def test_the_history_proposes_to_compare_what_can_be_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGECONV_HISTORY", str(tmp_path / "history.db"))
    for name, proposed in (("a", "report 1"), ("b", "report 2"), ("a", "compare 1 3")):
        write_onnx(Path(f"{name}.onnx"))
        measure = ["bench", f"{name}.onnx", *QUICK[:-1], "-q"]
        assert CliRunner().invoke(cli, measure).exit_code == 0
        done = CliRunner().invoke(cli, ["history"])
        assert done.stderr.splitlines()[-1] == f"next: edgeconv {proposed}"
    assert CliRunner().invoke(cli, shlex.split(proposed)).exit_code == 0
    assert "next:" not in CliRunner().invoke(cli, ["history", "--json"]).stderr


@pytest.mark.slow
def test_the_answer_for_an_input_and_a_page_propose_to_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_onnx(Path("tiny.onnx"))
    made = CliRunner().invoke(
        cli, ["export", "tiny.onnx", "--format", "onnx", "-o", "my out", "-q"]
    )
    assert made.exit_code == 0, made.output
    Image.new("RGB", (16, 16)).save("photo.png")
    answer = CliRunner().invoke(cli, ["predict", "my out", "photo.png"])
    assert answer.exit_code == 0, answer.output
    assert answer.stderr.splitlines()[-1] == "next: edgeconv bench 'my out'"
    page = CliRunner().invoke(cli, ["report", "my out", "-o", "page.html"])
    assert page.exit_code == 0, page.output
    assert page.stderr.splitlines()[-1:] == ["next: edgeconv bench 'my out'"]
    measured = CliRunner().invoke(cli, ["bench", "my out", *QUICK, "-q", "-o", "r.json"])
    assert measured.exit_code == 0, measured.output
    whole = CliRunner().invoke(cli, ["report", "my out", "r.json", "-o", "whole.html"])
    assert whole.exit_code == 0, whole.output
    assert "next:" not in whole.output


def test_a_page_of_a_sweep_proposes_the_file_to_deploy(tmp_path: Path) -> None:
    result = tmp_path / "sweep.json"
    SweepResult(started=datetime.now(timezone.utc), limits=Limits(), rows=()).save(result)
    page = CliRunner().invoke(cli, ["report", str(result), "-o", str(tmp_path / "page.html")])
    assert page.exit_code == 0, page.output
    assert page.stderr == f"next: edgeconv sweep best {shlex.quote(str(result))}\n"


def test_an_estimate_proposes_the_sweep_with_the_same_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my plan.toml").write_text('[[model]]\nname = "resnet8"\n', encoding="utf-8")
    options = ["--workers", "1", "--cache", "kept"]
    shown = CliRunner().invoke(cli, ["sweep", "my plan.toml", "--dry-run", *options])
    assert shown.exit_code == 0, shown.output
    last = shown.stderr.splitlines()[-1]
    assert last.startswith("next: edgeconv sweep 'my plan.toml' ")
    proposed = shlex.split(last)[4:]
    assert sorted(zip(proposed[::2], proposed[1::2], strict=True)) == [
        ("--cache", "kept"),
        ("--workers", "1"),
    ]
    for silent in ("--json", "--quiet"):
        done = CliRunner().invoke(cli, ["sweep", "my plan.toml", "--dry-run", silent, *options])
        assert done.exit_code == 0
        assert "next:" not in done.output
        assert "export" in done.stdout


@pytest.mark.slow
def test_no_page_is_proposed_where_none_can_be_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`report` needs matplotlib, which `pip install edgeconv` does not bring."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGECONV_HISTORY", str(tmp_path / "history.db"))
    monkeypatch.setattr("edgeconv.cli.next_command.find_spec", lambda name: None)
    write_onnx(Path("a.onnx"))
    done = CliRunner().invoke(cli, ["bench", "a.onnx", *QUICK[:-1], "-o", "result.json"])
    assert done.stderr.splitlines()[-1] == "next: edgeconv history"
    assert "next:" not in CliRunner().invoke(cli, ["history"]).stderr


@pytest.mark.parametrize("kind", ["out", "1"])
def test_a_page_without_matplotlib_is_one_error(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is about, and before it is read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = CliRunner().invoke(cli, ["report", kind])
    assert "pip install 'edgeconv[plots]'" in str(done.exception)
