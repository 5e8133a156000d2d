"""Export with edgeconv's defaults from the same weights and calibration inputs as the peers.

A failed verification is only a warning in the log here, because no peer verifies its files; the
scores show how good a file is.

    .venv/bin/python -m benchmarks.peers.export_edgeconv NETWORKS OUT
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.peers.exporting import run_exporter
from benchmarks.peers.subjects import Subject
from edgeconv.bundle import Bundle, Format, Precision
from edgeconv.export import export


def float32(subject: Subject, out: Path) -> Path:
    bundle = export(
        subject.factory,
        model_args=subject.args,
        weights=subject.weights,
        out=out / f"{subject.name}_float32",
        formats=(Format.TFLITE,),
        verify=False,
        force=True,
    )
    return _file(bundle, Format.TFLITE)


def int8(subject: Subject, out: Path) -> Path:
    """Export both formats at once, so that they hold the same integers."""
    bundle = export(
        subject.factory,
        model_args=subject.args,
        weights=subject.weights,
        out=_int8_bundle(subject, out),
        precisions=(Precision.INT8,),
        calibration=subject.calibration,
        calibration_size=len(subject.calibration_inputs()),
        verify=False,
        force=True,
    )
    return _file(bundle, Format.TFLITE)


def int8_onnx(subject: Subject, out: Path) -> Path:
    """Return the ONNX file that :func:`int8` wrote."""
    return _file(Bundle.load(_int8_bundle(subject, out)), Format.ONNX)


def _int8_bundle(subject: Subject, out: Path) -> Path:
    return out / f"{subject.name}_int8"


def _file(bundle: Bundle, format: Format) -> Path:
    (artifact,) = (a for a in bundle.manifest.artifacts if a.format is format)
    return bundle.file(artifact)


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_exporter(
        "benchmarks.peers.export_edgeconv",
        f"edgeconv {version('edgeconv')}",
        {"float32": float32, "int8": int8, "int8_onnx": int8_onnx},
    )
