"""Run models on ONNX Runtime and LiteRT, on one thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgeconv.export.exact_products import exact_form, saturates

Array = NDArray[Any]
Arrays = dict[str, Array]
OnnxModel = Path | bytes | onnx.ModelProto | ir.Model
INTEGER_PRODUCTS = {"MatMulInteger", "QGemm", "QLinearConv", "QLinearMatMul"}
TfliteModel = Path | bytes | bytearray


def onnx_session(model: OnnxModel, *, fused: bool = False, **settings: Any) -> ort.InferenceSession:
    """Load a model.

    Args:
        model: the model.
        fused: whether ONNX Runtime may optimize it; without, it computes node by node.
        settings: attributes of the session's options.
    """
    if isinstance(model, ir.Model):
        model = ir.to_proto(model)
    if isinstance(model, onnx.ModelProto):
        model = model.SerializeToString()
    model, exact = exact_form(model)
    if not fused and not (saturates() and _multiplies_integers(model)):
        settings["graph_optimization_level"] = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return _session(model, settings, exact)
    except ort.capi.onnxruntime_pybind11_state.NotImplemented:  # exact as it is
        return _session(model, settings, {})


def _session(
    model: Path | bytes, settings: Mapping[str, Any], entries: Mapping[str, str]
) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    for name, value in settings.items():
        setattr(options, name, value)
    for entry in entries.items():
        options.add_session_config_entry(*entry)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _multiplies_integers(model: Path | bytes) -> bool:
    """Whether it is exact only as the optimizer writes it, on x86 processors without VNNI."""
    proto = onnx.load(model) if isinstance(model, Path) else onnx.load_model_from_string(model)
    return any(node.op_type in INTEGER_PRODUCTS for node in proto.graph.node)


def run_onnx(
    model: OnnxModel | ort.InferenceSession,
    feeds: Mapping[str, Array] | Array | Sequence[Array],
    *,
    fused: bool = False,
) -> Arrays:
    """Run a model on inputs by name, or in its own order; returns its outputs by name."""
    session = model if isinstance(model, ort.InferenceSession) else onnx_session(model, fused=fused)
    if not isinstance(feeds, Mapping):
        arrays = [feeds] if isinstance(feeds, np.ndarray) else feeds
        names = [item.name for item in session.get_inputs()]
        feeds = dict(zip(names, arrays, strict=True))
    outputs = [item.name for item in session.get_outputs()]
    return dict(zip(outputs, map(np.asarray, session.run(outputs, dict(feeds))), strict=True))


def tflite_interpreter(model: TfliteModel, **settings: Any) -> Interpreter:
    """Load a model and allocate its tensors; ``settings`` are those of LiteRT's interpreter."""
    source = (
        {"model_path": str(model)} if isinstance(model, Path) else {"model_content": bytes(model)}
    )
    interpreter = Interpreter(**source, num_threads=1, **settings)
    interpreter.allocate_tensors()
    return interpreter


def run_tflite(model: TfliteModel, feeds: Mapping[str, Array] | Array | Sequence[Array]) -> Arrays:
    """Run a model through its signature on inputs by name, or in its own order of inputs."""
    interpreter = tflite_interpreter(model)
    if not isinstance(feeds, Mapping):
        arrays = [feeds] if isinstance(feeds, np.ndarray) else feeds
        names = interpreter.get_signature_list()["serving_default"]["inputs"]
        feeds = dict(zip(names, arrays, strict=True))
    return dict(interpreter.get_signature_runner()(**feeds))
