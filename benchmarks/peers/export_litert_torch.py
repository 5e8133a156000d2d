"""Export with litert-torch and ai-edge-quantizer, each as its own documentation shows.

The script runs in an environment of its own, made from ``requirements-litert-torch.txt``:

    PEER/bin/python -m benchmarks.peers.export_litert_torch NETWORKS OUT
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import litert_torch
import torch
from ai_edge_quantizer import quantizer, recipe
from ai_edge_quantizer.calibrator import Calibrator
from ai_edge_quantizer.recipe_manager import RecipeManager
from ai_edge_quantizer.utils.qsv_utils import min_max_update
from ai_edge_quantizer.utils.tfl_interpreter_utils import create_tfl_interpreter

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
    """Quantize to full integer with the tool's own calibration, a moving average of min and max."""
    source = out / f"{subject.name}_float32.tflite"
    tool = quantizer.Quantizer(str(source), recipe.static_wi8_ai8())
    ranges = tool.calibrate(_data(subject, source), num_threads=1)
    return _write(tool, ranges, out / f"{subject.name}_int8.tflite")


def int8_minmax(subject: Subject, out: Path) -> Path:
    """Quantize with the min and max over all samples, which the tool's lower-level API offers."""
    source = out / f"{subject.name}_float32.tflite"
    tool = quantizer.Quantizer(str(source), recipe.static_wi8_ai8())
    recipes = RecipeManager()
    recipes.load_quantization_recipe(tool.get_quantization_recipe())
    calibrator = Calibrator(str(source), num_threads=1, qsv_update_func=min_max_update)
    calibrator.calibrate(_data(subject, source), recipes)
    ranges = calibrator.get_model_qsvs()
    return _write(tool, ranges, out / f"{subject.name}_int8_minmax.tflite")


def _data(subject: Subject, source: Path) -> dict[str, list[dict[str, object]]]:
    """Arrange the calibration samples by signature and input."""
    (signature,) = create_tfl_interpreter(str(source)).get_signature_list().items()
    key, interface = signature
    (name,) = interface["inputs"]
    samples = subject.calibration_inputs()
    return {key: [{name: samples[i : i + 1]} for i in range(len(samples))]}


def _write(tool: quantizer.Quantizer, ranges: dict[str, dict[str, object]], path: Path) -> Path:
    tool.quantize(ranges).export_model(str(path), overwrite=True)
    return path


if __name__ == "__main__":
    torch.set_num_threads(1)
    tools = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    steps = {"float32": float32, "int8": int8, "int8_minmax": int8_minmax}
    run_exporter("benchmarks.peers.export_litert_torch", tools, steps)
