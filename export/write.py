"""Write one graph as one model file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import onnx_ir as ir

from edgeconv.bundle import Artifact, Format, Layout, Precision, Target, sha256_of
from edgeconv.errors import CaptureError
from edgeconv.export.inspect.runtimes import lowest_onnxruntime, lowest_tflite_runtime
from edgeconv.export.target import demand_loadable
from edgeconv.export.tensor_info import input_infos, output_infos
from edgeconv.export.tflite import lower
from edgeconv.export.tflite.graph import Graph

Finish = Callable[[Graph], tuple[str, ...]]

_MAX_PROTO_BYTES = 2**31 - 1


def write_artifact(
    path: Path,
    model: ir.Model,
    format: Format,
    precision: Precision,
    *,
    layout: Layout,
    runtime: str | None = None,
    target: Target | None = None,
    float_fallback: tuple[str, ...] = (),
    finish: Finish = lambda graph: (),
) -> Artifact:
    """Write ``model`` to ``path``, not verified yet.

    Args:
        model: a float graph, or the quantized graph with the interface that the file shall have.
        layout: of the inputs and outputs of a TFLite file; ONNX is NCHW.
        runtime: the release that has to load a TFLite file, as ``tflite-runtime==2.14``.
        target: the device that the files are for, if one is named.
        float_fallback: nodes that the quantizer left in float, with the reason. TFLite has integer
            kernels for some of them, so that the lowering makes its own list of a QDQ graph.
        finish: changes the graph of a TFLite file before it is written; returns what that leaves
            in float.

    Raises:
        UnsupportedOperator: TFLite cannot express a node, or ``runtime`` does not load its form.
    """
    if format is Format.ONNX:
        return _write_onnx(path, model, precision, float_fallback)
    lowered = lower(model, layout=layout, finish=finish)
    if runtime is not None:
        demand_loadable(path.name, lowered.operators, runtime, target, lowered.origins)
    path.write_bytes(lowered.data)
    return Artifact(
        path=path.name,
        format=format,
        precision=precision,
        bytes=len(lowered.data),
        sha256=sha256_of(path),
        opset=None,
        operators=lowered.operators,
        lowest_runtime=lowest_tflite_runtime(
            {name: [version] for name, version in lowered.operators.items()}
        ),
        inputs=lowered.inputs,
        outputs=lowered.outputs,
        float_fallback=lowered.float_fallback if precision.calibrated else float_fallback,
        verification=None,
    )


def _write_onnx(
    path: Path, model: ir.Model, precision: Precision, float_fallback: tuple[str, ...]
) -> Artifact:
    proto = ir.to_proto(model)
    # What an initializer's entry says again, tools that change the initializer forget to change.
    said = [info for info in proto.graph.value_info if info.name not in model.graph.initializers]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(said)
    if proto.ByteSize() > _MAX_PROTO_BYTES:
        raise CaptureError(f"{path.name} would exceed 2 GiB, the limit of one ONNX file")
    onnx.checker.check_model(proto)
    path.write_bytes(proto.SerializeToString())
    opset = model.graph.opset_imports[""]
    return Artifact(
        path=path.name,
        format=Format.ONNX,
        precision=precision,
        bytes=path.stat().st_size,
        sha256=sha256_of(path),
        opset=opset,
        operators={},
        lowest_runtime=lowest_onnxruntime(opset, model.ir_version),
        inputs=input_infos(model),
        outputs=output_infos(model),
        float_fallback=float_fallback,
        verification=None,
    )
