"""Import one package and have it do a little, in a process of its own, which may die of it.

Arguments: the module's name, and the folders to import from as JSON; without the latter those of
this process count. Writes one JSON object on standard output: the ``error`` with that of its cause,
empty if all went well, and whether the module is ``missing``. It imports nothing of edgeconv.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Both compute the sum of their input, which has two float32 numbers, with itself.
MODELS = Path(__file__).parent


def run_tflite(package: str) -> None:
    """Run a model on LiteRT or tflite-runtime: with NumPy 2 the latter imports, and runs none."""
    import numpy as np

    interpreter = importlib.import_module(f"{package}.interpreter").Interpreter(
        model_content=(MODELS / "sum.tflite").read_bytes(), num_threads=1
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.ones((1, 2), np.float32))
    interpreter.invoke()
    check(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def run_onnx(package: str) -> None:
    """Run a model on ONNX Runtime."""
    import numpy as np
    import onnxruntime as ort

    session = ort.InferenceSession(
        (MODELS / "sum.onnx").read_bytes(), providers=["CPUExecutionProvider"]
    )
    check(session.run(None, {"x": np.ones((1, 2), np.float32)})[0])


def check(output: Any) -> None:
    """Raise RuntimeError if a model computed something else."""
    if output.tolist() != [[2.0, 2.0]]:
        raise RuntimeError(f"it computes 1 + 1 = {output.tolist()[0][0]}")


def multiply_numpy(package: str) -> None:
    """Multiply two vectors, which takes NumPy's compiled parts."""
    import numpy as np

    if np.ones(3) @ np.ones(3) != 3:
        raise RuntimeError("a product of vectors is wrong")


def convolve_torch(package: str) -> None:
    """Compute a convolution."""
    import torch

    if torch.nn.functional.conv1d(torch.ones(1, 1, 3), torch.ones(1, 1, 3)).item() != 3:
        raise RuntimeError("a convolution is wrong")


def suppress_boxes(package: str) -> None:
    """Call a compiled operator: one that was built for another torch may import, and have none."""
    import torch
    import torchvision

    torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)


TRIALS: dict[str, Callable[[str], None]] = {
    "ai_edge_litert": run_tflite,
    "tflite_runtime": run_tflite,
    "onnxruntime": run_onnx,
    "numpy": multiply_numpy,
    "torch": convolve_torch,
    "torchvision": suppress_boxes,
}


def main() -> None:
    """Try the module that the arguments name."""
    module, *folders = sys.argv[1:]
    sys.path[:] = json.loads(folders[0]) if folders else sys.path[1:]
    # The answer goes out alone: what libraries print joins the standard error.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        importlib.import_module(module)
        if module in TRIALS:
            TRIALS[module](module)
        result = {"error": "", "missing": False}
    except Exception as error:  # broken packages raise whatever they like
        causes = [error, *filter(None, [error.__cause__ or error.__context__])]
        words = ": ".join(f"{type(each).__name__}: {each}" for each in causes)
        missing = isinstance(error, ModuleNotFoundError) and error.name == module
        result = {"error": words, "missing": missing}
    with answer:
        json.dump(result, answer)


if __name__ == "__main__":
    main()
