"""What ``sweep best`` chooses among, and whose warnings a sweep shows."""

from __future__ import annotations

import logging
from datetime import datetime, timezone

import pytest

from edgeconv.bench.result import Interval
from edgeconv.bundle import Precision
from edgeconv.errors import EdgeconvError
from edgeconv.evaluation import Figure
from edgeconv.log_lines import show_warnings, warnings_about
from edgeconv.sweep.network import Network
from edgeconv.sweep.result import Limits, Row, SweepResult


def row(file: str, accuracy: float, latency_ns: float | None, device: str | None = "pi") -> Row:
    latency = latency_ns and Interval(value=latency_ns, low=latency_ns, high=latency_ns)
    return Row.model_construct(
        network=Network.model_construct(model="m", precision=Precision.FLOAT32),
        file=file,
        bytes=9,
        accuracy=Figure(name="top-1", value=accuracy, unit="share", better="higher", samples=9),
        device=device,
        latency_ns=latency or None,
    )


def found(*rows: Row) -> SweepResult:
    return SweepResult.model_construct(
        started=datetime.now(timezone.utc), limits=Limits(), rows=rows, chains=()
    )


def test_the_best_was_measured() -> None:
    """The most accurate file may be one that the board could not run."""
    result = found(row("fails.onnx", 0.9, None), row("runs.onnx", 0.8, 1e6))
    assert result.best(Limits()).file == "runs.onnx"
    assert result.best(Limits(), "pi").file == "runs.onnx"
    with pytest.raises(EdgeconvError, match="no file was measured"):
        found(row("fails.onnx", 0.9, None)).best(Limits())
    with pytest.raises(EdgeconvError, match="no file keeps to the limits"):
        found(row("fails.onnx", 0.9, None)).best(Limits(bytes=10))
    # Where nothing was to be measured, accuracy alone decides.
    assert found(row("a.onnx", 0.9, None, None)).best(Limits()).file == "a.onnx"


def test_warnings_name_their_network_once(capsys: pytest.CaptureFixture[str]) -> None:
    ours = logging.getLogger("edgeconv")
    before = ours.handlers, ours.propagate, ours.level
    try:
        show_warnings()
        for subject in ("vgg11", "vgg11", "resnet8 width=4"):
            with warnings_about(subject):
                ours.warning("the weights are random")
        for _ in range(2):
            ours.warning("outside")
    finally:
        ours.handlers, ours.propagate = before[:2]
        ours.setLevel(before[2])
    assert capsys.readouterr().err.splitlines() == [
        "warning: vgg11: the weights are random",
        "warning: resnet8 width=4: the weights are random",
        "warning: outside",
        "warning: outside",
    ]
