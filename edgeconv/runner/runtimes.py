"""Which runtime reads a file, and whether this Python has it."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from edgeconv.runner.request import RunnerError

# Runtime, its package, the module that reports the version, the module that runs.
TFLITE = {
    "litert": ("ai-edge-litert", "ai_edge_litert", "ai_edge_litert.interpreter"),
    "tflite-runtime": ("tflite-runtime", "tflite_runtime", "tflite_runtime.interpreter"),
}
ONNX = {"onnxruntime": ("onnxruntime", "onnxruntime", "onnxruntime")}


def find_runtime(model: str, wanted: str | None) -> tuple[str, str, Any]:
    """Import the first installed runtime that reads a file, or the one that is asked for.

    Only a missing package means "not installed". One that is there and broken (NumPy 2 under
    tflite-runtime, a libc that is too old) says itself what is wrong.

    Returns:
        The runtime's name, its version and its module.

    Raises:
        RunnerError: The runtime is not installed, does not import, or reads other files.
    """
    table = ONNX if model.endswith(".onnx") else TFLITE
    if wanted is not None and wanted not in table:
        raise RunnerError("runtime", f"{wanted} does not read {Path(model).name}")
    for name in [wanted] if wanted else list(table):
        _, package, module_name = table[name]
        # ONNX Runtime 1.31 and later connects to a telemetry host when it is imported without this.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name == package:
                continue
            raise RunnerError("runtime", f"{name} does not import: {error}") from error
        except Exception as error:  # NumPy 2 beside an old runtime, a missing library, and so on
            raise RunnerError("runtime", f"{name} does not import: {error}") from error
        version = getattr(importlib.import_module(package), "__version__", "unknown")
        return name, str(version), module
    packages = " or ".join(table[n][0] for n in ([wanted] if wanted else table))
    raise RunnerError(
        "runtime",
        f"there is no {packages} under {sys.executable}",
        "install it there with pip, or name another Python",
    )
