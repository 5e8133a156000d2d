"""Write one graph as one model file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import onnx_ir as ir

from edgeconv.bundle import Artifact, Format, Layout, Precision, Target, sha256_of
from edgeconv.errors import CaptureError
from edgeconv.export.dynamic_batch import TRACED, at_batch, with_open_batch
from edgeconv.export.file_description import FileDescription
from edgeconv.export.inspect.runtimes import lowest_onnxruntime, lowest_tflite_runtime
from edgeconv.export.target import demand_loadable
from edgeconv.export.tensor_info import input_infos, output_infos
from edgeconv.export.tflite import lower
from edgeconv.export.tflite.forms import USUAL, Forms
from edgeconv.export.tflite.graph import Graph
from edgeconv.export.tflite.metadata import append_labels, entries

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
    forms: Forms = USUAL,
    dynamic_batch: bool = False,
    description: FileDescription | None = None,
) -> Artifact:
    """Write one model file, and describe it without figures of verification.

    Args:
        path: The file to write.
        model: A float graph, or the quantized graph with the inputs and outputs of the file.
        format: The format of the file.
        precision: What the file computes in.
        layout: The layout of the inputs and outputs of a TFLite file; ONNX is NCHW.
        runtime: The release that has to load a TFLite file, as ``tflite-runtime==2.14``.
        target: The device that the files are for, if one is named.
        float_fallback: Nodes that the quantizer left in float, with the reason. TFLite has integer
            kernels for some of them, so that the lowering of a QDQ graph makes its own list.
        finish: Changes the graph of a TFLite file before it is written; returns what that leaves
            in float.
        forms: The forms of int8 operators that a TFLite file has instead of the usual ones.
        dynamic_batch: Whether the file is for every batch; ``model`` was opened for it.
        description: What the file says of itself, if anything.

    Raises:
        UnsupportedOperator: TFLite cannot express a node, or ``runtime`` does not load its form.
        CaptureError: The graph is too large for an ONNX file.
    """
    if format is Format.ONNX:
        model = with_open_batch(model) if dynamic_batch else model
        return _write_onnx(path, model, precision, float_fallback, description)
    one_more = at_batch(model, TRACED + 1) if dynamic_batch else None

    def described(graph: Graph) -> tuple[str, ...]:
        left = finish(graph)
        if description is not None:
            graph.metadata |= entries(description, graph)
        return left

    lowered = lower(model, layout=layout, finish=described, one_more=one_more, forms=forms)
    if runtime is not None:
        demand_loadable(path.name, lowered.operators, runtime, target, lowered.origins)
    path.write_bytes(lowered.data)
    if description is not None and any(description.labeled()):
        append_labels(path, description.labels)
    return Artifact(
        path=path.name,
        format=format,
        precision=precision,
        bytes=path.stat().st_size,
        sha256=sha256_of(path),
        opset=None,
        operators=lowered.operators,
        lowest_runtime=lowest_tflite_runtime(
            {name: [version] for name, version in lowered.operators.items()}
        ),
        inputs=lowered.inputs,
        outputs=lowered.outputs,
        float_fallback=lowered.float_fallback if precision.calibrated else float_fallback,
        tables=lowered.tables if precision.calibrated else (),
        verification=None,
    )


def _write_onnx(
    path: Path,
    model: ir.Model,
    precision: Precision,
    float_fallback: tuple[str, ...],
    description: FileDescription | None,
) -> Artifact:
    proto = ir.to_proto(model)
    onnx.helper.set_model_props(proto, {} if description is None else description.properties())
    # An initializer describes itself. Tools that change one often forget its entry in value_info.
    needed = [info for info in proto.graph.value_info if info.name not in model.graph.initializers]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(needed)
    if proto.ByteSize() > _MAX_PROTO_BYTES:
        raise CaptureError(
            f"{path.name} would exceed 2 GiB, the limit of one ONNX file",
            hint="export a smaller network, or only --format tflite",
        )
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
