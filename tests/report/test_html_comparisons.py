"""The pages of ``compare`` and ``gate``: what the table says, escaped, and every inference."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeconv.cli import cli
from support.results import made_evaluation, made_model, made_result

pytest.importorskip("matplotlib")

HOSTILE = "<img src=x onerror=alert(1)>|$x$\x1b[2J.tflite"


def results(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders: a file that became slower, one that is missing, and accuracies."""
    before, after = tmp_path / "before", tmp_path / "after"
    for folder, factor, names in ((before, 1, [HOSTILE, "b.onnx"]), (after, 2, [HOSTILE])):
        folder.mkdir()
        models = [
            made_model(name, [factor * 1_000_000 + 1000 * step for step in range(8)])
            for name in names
        ]
        made_result(*models).save(folder / "latency.json")
        outcomes = [True] * 60 + [False] * (factor * 40)
        made_evaluation({"a.onnx": outcomes[:100]}).save(folder / "accuracy.json")
    return before, after


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(cli, list(map(str, arguments)))
    return done.exit_code, done.output


def test_compare(tmp_path: Path) -> None:
    before, after = results(tmp_path)
    page = tmp_path / "page.html"
    assert run("compare", before, after, "--html", page)[0] == 0
    text = page.read_text("utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", text) == ["accuracy.json", "latency.json"]
    assert "99.7% slower, at least" in text
    assert "b.onnx is only in the first result" in text
    assert text.count("<svg") == 1
    assert "<img" not in text
    assert "\x1b" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;|$x$\\x1b[2J.tflite" in text


def test_gate(tmp_path: Path) -> None:
    before, after = results(tmp_path)
    page = tmp_path / "page.html"
    code, said = run("gate", after, "--baseline", before, "--html", page)
    assert code == 1
    assert "**failed**: slower" in said
    text = page.read_text("utf-8")
    assert "failed: slower by" in text
    assert "failed: not measured" in text
    assert "<img" not in text
    assert text.count("<svg") == 1


def test_two_single_results(tmp_path: Path) -> None:
    before, after = (folder / "latency.json" for folder in results(tmp_path))
    page = tmp_path / "page.html"
    assert run("compare", before, after, "--html", page)[0] == 0
    assert f"<h2>{before} and {after}</h2>" in page.read_text("utf-8")
    assert run("compare", before, after, "--html", tmp_path / "none" / "page.html")[0] != 0
