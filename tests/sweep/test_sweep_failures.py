"""What the command says where something failed for every network, and of limits."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeconv.bundle import Precision
from edgeconv.cli.sweep_command import command
from edgeconv.errors import EdgeconvError
from edgeconv.evaluation import Figure
from edgeconv.export.quantize_options import RangeMethod
from edgeconv.sweep.network import Network
from edgeconv.sweep.result import Limits, Row, SweepResult

PLAN = """
[[model]]
name = "mobilenet_v1"

[export]
precisions = ["float32"]

[evaluate]
data = "data.npz"

[count]
devices = ["emulated:pi4"]
"""
NETWORK = Network(
    model="mobilenet_v1",
    args={},
    input_size=None,
    weights=None,
    precision=Precision.FLOAT32,
    effort=1,
    range_method=RangeMethod.AUTO,
)
FILE = Row(network=NETWORK, file="mobilenet_v1_float32.tflite", bytes=1000, on_front=True)
RIGHT = Figure(name="top-1", value=0.5, unit="share", better="higher", samples=10)


def swept(
    monkeypatch: pytest.MonkeyPatch, folder: Path, row: Row, limits: Limits | None = None
) -> tuple[str, str]:
    """The output, and the error if there is one, of a sweep that ends with this one row."""
    started = datetime(2026, 1, 1, tzinfo=timezone.utc)
    result = SweepResult(started=started, limits=limits or Limits(), rows=(row,))
    monkeypatch.setattr("edgeconv.sweep.run.sweep", lambda *_, **__: result)
    (folder / "plan.toml").write_text(PLAN)
    (folder / "data.npz").write_bytes(b"")
    arguments = ["run", str(folder / "plan.toml"), "--out", str(folder / "sweep.json"), "--quiet"]
    ended = CliRunner().invoke(command, arguments)
    assert (folder / "sweep.json").exists()
    error = ended.exception
    return ended.output, error.message if isinstance(error, EdgeconvError) else ""


@pytest.mark.parametrize(
    ("row", "failed"),
    [
        (FILE.model_copy(update={"file": None}), "exported"),
        (FILE, "evaluated"),
        (FILE.model_copy(update={"accuracy": RIGHT}), "counted"),
        (FILE.model_copy(update={"accuracy": RIGHT, "instructions": 7}), ""),
    ],
)
def test_what_failed_for_every_network_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, row: Row, failed: str
) -> None:
    _, error = swept(monkeypatch, tmp_path, row)
    assert error == (f"no network could be {failed}" if failed else "")


@pytest.mark.parametrize("limits", [None, Limits(bytes=1000)])
def test_a_mark_of_limits_is_only_where_there_are_some(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limits: Limits | None
) -> None:
    row = FILE.model_copy(update={"accuracy": RIGHT, "instructions": 7})
    output, _ = swept(monkeypatch, tmp_path, row, limits)
    assert ("✓" in output) == (limits is not None)
