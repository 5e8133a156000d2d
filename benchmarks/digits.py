"""Measure the top-1 accuracy of the demo's files on held-out handwritten digits.

.venv/bin/python -m benchmarks.digits
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.measuring import machine, markdown_table, publish
from edgeconv.bench import BenchOptions
from edgeconv.units import format_percent
from examples.digits import EPOCHS, Demo, run

# Other scripts measure latency; here the harness only has to run.
NO_LATENCY = BenchOptions(repetitions=1, runs=1, seconds=0, warmup=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        demo = run(Path(folder), arguments.epochs, NO_LATENCY)
    publish("digits", report(demo, arguments.epochs))


def report(demo: Demo, epochs: int) -> list[str]:
    rows = [["PyTorch", format_percent(demo.pytorch_top1, places=2), "", ""]]
    for artifact, accuracy in zip(
        demo.bundle.manifest.artifacts, demo.evaluation.results, strict=True
    ):
        points = 100 * (accuracy.top1 - demo.pytorch_top1)
        figures = artifact.verification
        assert figures is not None
        rows.append(
            [
                artifact.path,
                format_percent(accuracy.top1, places=2),
                f"{points:+.2f}",
                f"{figures.sqnr_db:.1f} dB",
            ]
        )
    return [
        "# MobileNetV2 (width 0.35) on handwritten digits",
        "",
        f"Trained for {epochs} epochs with a fixed seed on 1347 digits, and calibrated on 128 of",
        f"them. Top-1 on {demo.evaluation.samples} held-out digits. The goal is that int8 stays",
        "within 0.5 points of PyTorch.",
        machine("edgeconv", "torch", "onnxruntime", "ai-edge-litert", "scikit-learn"),
        "",
        *markdown_table(["file", "top-1", "points to PyTorch", "SQNR"], rows),
    ]


if __name__ == "__main__":
    main()
