"""Export with PyTorch's ONNX exporter, and quantize as ONNX Runtime's documentation shows.

.venv/bin/python -m benchmarks.peers.export_onnxruntime NETWORKS OUT
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from benchmarks.peers.exporting import run_exporter
from benchmarks.peers.subjects import Subject

OPSET = 20


class Reader(CalibrationDataReader):  # type: ignore[misc]  # it comes without types
    """Gives one calibration sample after another, by the name of the file's input."""

    def __init__(self, subject: Subject, file: Path) -> None:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        samples = subject.calibration_inputs()
        self._feeds: Iterator[dict[str, Any]] = (
            {name: samples[i : i + 1]} for i in range(len(samples))
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


def float32(subject: Subject, out: Path) -> Path:
    sample = torch.from_numpy(subject.calibration_inputs()[:1])
    program = torch.onnx.export(subject.network(), (sample,), dynamo=True, opset_version=OPSET)
    assert program is not None
    path = out / f"{subject.name}_float32.onnx"
    program.save(path)
    return path


def int8(subject: Subject, out: Path) -> Path:
    """Quantize to QDQ: int8 weights per channel, uint8 activations with min-max ranges."""
    source = out / f"{subject.name}_float32.onnx"
    prepared = out / f"{subject.name}_prepared.onnx"
    path = out / f"{subject.name}_int8.onnx"
    quant_pre_process(source, prepared)
    quantize_static(
        prepared,
        path,
        Reader(subject, prepared),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
    )
    prepared.unlink()
    return path


if __name__ == "__main__":
    torch.set_num_threads(1)
    onnxruntime.disable_telemetry_events()
    tool = f"onnxruntime {version('onnxruntime')}, torch {version('torch')}"
    run_exporter("benchmarks.peers.export_onnxruntime", tool, {"float32": float32, "int8": int8})
