"""The page of a sweep: a front for each device, everything in a table, hostile names escaped."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeconv.bench.result import Interval
from edgeconv.bundle import Format, Precision
from edgeconv.cli import cli
from edgeconv.evaluation import top1_figure
from edgeconv.export.quantize_options import RangeMethod
from edgeconv.sweep.network import Network
from edgeconv.sweep.result import Limits, Row, SweepResult, marked
from support.results import STARTED

pytest.importorskip("matplotlib")

HOSTILE = "<script>alert(1)</script>\x1b[2J"


def row(model: str, device: str | None, latency_ms: float | None, top1: float | None) -> Row:
    network = Network(
        model=model,
        args={},
        input_size=None,
        weights=None,
        precision=Precision.INT8,
        effort=1,
        range_method=RangeMethod.AUTO,
    )
    ns = None if latency_ms is None else latency_ms * 1e6
    return Row(
        network=network,
        file="net.tflite",
        format=Format.TFLITE,
        bytes=400_000,
        accuracy=None if top1 is None else top1_figure(top1, 100),
        device=device,
        threads=1,
        latency_ns=None if ns is None else Interval(value=ns, low=0.99 * ns, high=1.01 * ns),
        failures=("measure on lab: it is lost",) if ns is None else (),
    )


def page(tmp_path: Path, *rows: Row) -> str:
    result = SweepResult(started=STARTED, limits=Limits(), rows=marked(rows))
    result.save(tmp_path / "sweep.json")
    out = tmp_path / "report.html"
    done = CliRunner().invoke(cli, ["report", str(tmp_path / "sweep.json"), "-o", str(out)])
    assert done.exit_code == 0, done.output
    return out.read_text("utf-8")


def test_each_device_has_a_front(tmp_path: Path) -> None:
    text = page(
        tmp_path,
        row("small", "pi4", 3.0, 0.8),
        row("large", "pi4", 30.0, 0.9),
        row(HOSTILE, "pi5", 1.0, 0.8),
        row("large", "pi5", 10.0, 0.9),
        row("lost", "lab", None, 0.9),
    )
    assert text.count("<svg") == 2
    assert "top-1 (%) against latency (ms) on pi4" in text
    assert "measure on lab: it is lost" in text
    assert "<script>alert" not in text
    assert "\x1b" not in text
    for figure in ("3.00 ms", "30.0 ms", "1.00 ms", "10.0 ms", "80.00%", "90.00%"):
        assert figure in text, figure


def test_without_accuracy_there_is_only_the_table(tmp_path: Path) -> None:
    text = page(tmp_path, row("small", "pi4", 3.0, None), row("large", "pi4", 30.0, None))
    assert "<svg" not in text
    assert "no accuracy was evaluated" in text
