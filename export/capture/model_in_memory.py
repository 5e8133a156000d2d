"""ONNX models in memory, which an export reads as files: checks and limits are those of a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import onnx
import onnx_ir as ir
from torch.onnx import ONNXProgram

from edgeconv.errors import CaptureError
from edgeconv.export.capture.read_onnx import MAX_PROTO_BYTES
from edgeconv.scratch import temporary_folder

InMemory: TypeAlias = onnx.ModelProto | ir.Model | ONNXProgram
"""What an export takes beside modules, programs and files."""

_NAME = re.compile(r"\w[\w.-]{0,99}")


@contextmanager
def as_file(model: InMemory) -> Iterator[Path]:
    """Yield a temporary ``.onnx`` file of a model, which is named after its graph.

    Raises:
        CaptureError: Its weights are too large, or they lie in files whose folder it does not know.
    """
    proto = _proto(model)
    graph = proto.graph
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.initializer):
        raise CaptureError(
            "the ONNX model in memory keeps weights in files, and does not say in which folder",
            hint="pass the path of its .onnx file",
        )
    if proto.ByteSize() > MAX_PROTO_BYTES:
        raise CaptureError(
            "the ONNX model in memory exceeds 2 GiB, the limit of one ONNX file",
            hint="write it with its weights as external data, and pass the path of the .onnx file",
        )
    with temporary_folder() as folder:
        name = graph.name if _NAME.fullmatch(graph.name) else "model"
        path = folder / f"{name}.onnx"
        path.write_bytes(proto.SerializeToString(deterministic=True))
        yield path


def _proto(model: InMemory) -> onnx.ModelProto:
    if isinstance(model, onnx.ModelProto):
        return model
    return ir.to_proto(model) if isinstance(model, ir.Model) else model.model_proto
