"""Runs and reads graphs of both formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from ai_edge_litert.interpreter import Interpreter

from edgeconv.export.tflite import LoweredModel, lower
from edgeconv.export.tflite.graph import Graph
from support.runtimes import onnx_session, run_onnx, tflite_interpreter

Samples = Sequence[tuple[np.ndarray, ...]]


def first_outputs_onnx(model: ir.Model, samples: Samples) -> np.ndarray:
    """Compute the first output for every sample, after a full check of the model."""
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = onnx_session(proto, fused=True)
    return np.stack([next(iter(run_onnx(session, sample).values())) for sample in samples])


def lowered(model: ir.Model, finish: Callable[[Graph], tuple[str, ...]]) -> LoweredModel:
    return lower(model, finish=finish)


def first_outputs_tflite(data: bytes, samples: Samples) -> np.ndarray:
    """Compute the first output for every sample; images are NCHW and are fed as NHWC."""
    loaded = tflite_interpreter(data)
    results = []
    for sample in samples:
        for detail, array in zip(loaded.get_input_details(), sample, strict=True):
            nhwc = np.moveaxis(array, 1, -1) if array.ndim == 4 else array
            loaded.set_tensor(detail["index"], np.ascontiguousarray(nhwc))
        loaded.invoke()
        results.append(loaded.get_tensor(loaded.get_output_details()[0]["index"]))
    return np.stack(results)


def constants(data: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read every stored tensor of a TFLite file with its scales; a float one has none."""
    loaded = tflite_interpreter(data)
    found = []
    for detail in _details(loaded):
        try:
            array = loaded.get_tensor(detail["index"])
        except ValueError:  # an activation without memory yet
            continue
        found.append((array, detail["quantization_parameters"]["scales"]))
    return found


def activation_scales(data: bytes, dtype: type) -> dict[float, int]:
    """Map scale to zero point, for every tensor of ``dtype`` that has one of each."""
    found = {}
    for detail in _details(tflite_interpreter(data)):
        parameters = detail["quantization_parameters"]
        if detail["dtype"] is dtype and len(parameters["scales"]) == 1:
            found[float(parameters["scales"][0])] = int(parameters["zero_points"][0])
    return found


def _details(loaded: Interpreter) -> list[dict[str, Any]]:
    return [detail for detail in loaded.get_tensor_details() if detail["name"]]


def initializer(model: ir.Model, name: str) -> np.ndarray:
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy()
