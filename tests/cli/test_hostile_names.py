"""Names in files are not ours: whatever they hold, every command prints printable lines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgeconv.store.history import History
from edgeconv.store.revision import Revision
from edgeconv.store.sqlite import SQLiteFile
from support.results import made_model, made_result

pytestmark = pytest.mark.slow

NAME = "\x1b[31m\x9b2J\nerror: all\r\u202ewell\x07[x](y)"
SAMPLES = [1_000_000] * 3


def edgeconv(*arguments: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", "from edgeconv.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        timeout=120,
        check=False,
    )
    texts = done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
    for text in texts:
        assert all(map(str.isprintable, text.split("\n"))), text
        assert "--debug" in arguments or "\nerror: all" not in text
    return subprocess.CompletedProcess(done.args, done.returncode, *texts)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An ONNX file of two nodes whose every name is hostile."""
    one = helper.make_tensor(f"c{NAME}", TensorProto.FLOAT, [1], [1.0])
    x, y = (
        helper.make_tensor_value_info(f"{n}{NAME}", TensorProto.FLOAT, [1, 3, 4, 4]) for n in "xy"
    )
    nodes = [
        helper.make_node("Add", [x.name, one.name], [f"h{NAME}"], name=f"n{NAME}"),
        helper.make_node("Relu", [f"h{NAME}"], [y.name], name=f"m{NAME}"),
    ]
    graph = helper.make_graph(nodes, f"g{NAME}", [x], [y], [one])
    opsets = [helper.make_opsetid("", 20)]
    proto = helper.make_model(graph, ir_version=9, opset_imports=opsets, producer_name=NAME)
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_inspect(model: Path) -> None:
    done = edgeconv("inspect", model)
    assert done.returncode == 0, done.stderr
    assert "x\\x1b[31m\\x9b2J\\nerror: all\\r\\u202ewell\\x07" in done.stdout
    printed = json.loads(edgeconv("inspect", model, "--json").stdout)
    assert printed["inputs"][0]["name"] == f"x{NAME}"


@pytest.mark.slow
def test_a_whole_export(model: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("\x1b[31mred\n\u202eright\nc\n")
    data = tmp_path / "data.npz"
    np.savez(data, x=np.linspace(0, 1, 96, dtype=np.float32).reshape(2, 3, 4, 4))
    arguments = ("--calibration", data, "--labels", labels)
    done = edgeconv("export", model, "-o", tmp_path / "out", *arguments)
    assert done.returncode == 0, done.stderr
    for more in (
        ("verify", tmp_path / "out"),
        ("verify", tmp_path / "out", "--json"),
        ("inspect", tmp_path / "out"),
        ("blame", model, "--data", data),
        ("bench", tmp_path / "out", "--runs", "3", "--seconds", "0", "--no-history"),
    ):
        done = edgeconv(*more)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_errors_and_tracebacks(tmp_path: Path, debug: tuple[str, ...]) -> None:
    missing = tmp_path / f"{NAME.replace('/', '')}.onnx"
    done = edgeconv(*debug, "inspect", missing)
    assert done.returncode == 2
    assert "error: " in done.stderr


def test_a_name_without_end_does_not_fill_the_terminal() -> None:
    done = edgeconv("bench", "m.onnx", "--device", "x" * 100_000)
    assert done.returncode == 2
    assert "characters …]" in done.stderr
    assert len(done.stderr) < 5000


def test_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = made_result(made_model(NAME, SAMPLES), device=NAME)
    other = made_result(made_model(f"{NAME}|<b>`", SAMPLES), device=NAME)
    before, after = tmp_path / "a.json", tmp_path / "b.json"
    result.save(before)
    other.save(after)
    monkeypatch.setenv("EDGECONV_HISTORY", str(tmp_path / "history.db"))
    history = History(SQLiteFile(tmp_path / "history.db"))
    history.add(result, Revision(NAME, changed=True))
    for arguments in (
        ("compare", before, after),
        ("compare", before, after, "--json"),
        ("gate", "--baseline", before, after),
        ("history",),
        ("history", "--csv"),
        ("history", "--json"),
        ("history", "--run", "1"),
    ):
        edgeconv(*arguments)
    gate = edgeconv("gate", "--baseline", before, after).stdout
    assert gate, edgeconv("gate", "--baseline", before, after).stderr
    assert "\\[x\\](y)\\|\\<b\\>\\`" in gate
    rows = [line for line in gate.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {rows[0].count("|")}
