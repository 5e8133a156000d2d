"""Export with litert-torch and ai-edge-quantizer, each as its own documentation shows.

The script runs in an environment of its own, made from ``requirements-litert-torch.txt``:

    PEER/bin/python -m benchmarks.peers.export_litert_torch NETWORKS OUT
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import litert_torch
import torch

from benchmarks.peers.ai_edge import Samples, quantize_default, quantize_min_max
from benchmarks.peers.exporting import run_exporter
from benchmarks.peers.subjects import Subject

PACKAGES = ("litert-torch", "ai-edge-quantizer", "torch")


def float32(subject: Subject, out: Path) -> Path:
    """Convert with the defaults; inputs and outputs stay NCHW as in PyTorch."""
    sample = torch.from_numpy(subject.calibration_inputs()[:1])
    path = out / f"{subject.name}_float32.tflite"
    litert_torch.convert(subject.network(), (sample,)).export(str(path))
    return path


def int8(subject: Subject, out: Path) -> Path:
    """Quantize to full integer as the tool does by itself."""
    return _quantized(quantize_default, subject, out, "int8")


def int8_minmax(subject: Subject, out: Path) -> Path:
    """Quantize to full integer with plain min and max."""
    return _quantized(quantize_min_max, subject, out, "int8_minmax")


def _quantized(
    quantize: Callable[[Path, Samples, Path], Path], subject: Subject, out: Path, kind: str
) -> Path:
    samples = subject.calibration_inputs()
    each = [samples[i : i + 1] for i in range(len(samples))]
    source = out / f"{subject.name}_float32.tflite"
    return quantize(source, each, out / f"{subject.name}_{kind}.tflite")


if __name__ == "__main__":
    torch.set_num_threads(1)
    tools = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    steps = {"float32": float32, "int8": int8, "int8_minmax": int8_minmax}
    run_exporter("benchmarks.peers.export_litert_torch", tools, steps)
