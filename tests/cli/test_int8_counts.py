"""``export --target emulated:BOARD`` names int8 files that take more instructions than float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edgeconv.bench.instructions import CountOptions
from edgeconv.bundle import Bundle, Format, Precision
from edgeconv.cli.int8_counts import slower_int8
from edgeconv.device import Runtime
from edgeconv.errors import MeasurementError
from support.manifests import made_artifact, made_manifest
from support.results import made_counts

TOTALS = {
    "m_float32.tflite": 200_000_000,
    "m_int8.tflite": 210_000_000,
    "m_float32.onnx": 200_000_000,
    "m_int8.onnx": 200_000_000,
}


def bundle_of(*names: str) -> Bundle:
    artifacts = tuple(
        made_artifact(
            name,
            Format(name.partition(".")[2]),
            Precision(name.partition(".")[0].removeprefix("m_")),
        )
        for name in names
    )
    manifest = made_manifest((1, 3), (1, 5)).model_copy(update={"artifacts": artifacts})
    return Bundle(Path("b"), manifest)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were counted."""
    asked: list[str] = []

    def count(files: Sequence[Path], options: CountOptions, *_: Any) -> Any:
        asked.extend(file.name for file in files)
        tflite = files[0].suffix == ".tflite"
        assert options.runtime is (Runtime.TFLITE_RUNTIME if tflite else None)
        return made_counts({file.name: TOTALS[file.name] for file in files})

    monkeypatch.setattr("edgeconv.bench.instructions.count", count)
    return asked


@pytest.mark.device  # the board's userland is made before anything is counted
@pytest.mark.device  # the board's userland is made before anything is counted
def test_only_a_file_that_takes_more_is_named(counted: list[str]) -> None:
    """Pairs are of one format, in whatever order the bundle has them."""
    names = ["m_int8.onnx", "m_float32.tflite", "m_int8.tflite", "m_float32.onnx"]
    bundle = bundle_of(*names, "m_float16.onnx")
    assert slower_int8(bundle, "emulated:pi4", "tflite-runtime==2.14") == [
        "m_int8.tflite takes 210 M instructions on emulated:pi4, more than the 200 M of "
        "m_float32.tflite"
    ]
    assert sorted(counted) == sorted(names)


@pytest.mark.parametrize("names", [(), ("m_int8.tflite", "m_float32.onnx"), ("m_float32.onnx",)])
def test_without_a_twin_nothing_is_counted(counted: list[str], names: tuple[str, ...]) -> None:
    assert slower_int8(bundle_of(*names), "emulated:pi4") == []
    assert counted == []


@pytest.mark.device  # the board's userland is made before anything is counted
def test_what_cannot_be_counted_costs_no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(*_: Any) -> Any:
        raise MeasurementError("emulated:pi4: no QEMU")

    monkeypatch.setattr("edgeconv.bench.instructions.count", count)
    assert slower_int8(bundle_of("m_int8.onnx", "m_float32.onnx"), "emulated:pi4") == [
        "m_int8.onnx was not held against m_float32.onnx: emulated:pi4: no QEMU"
    ]
