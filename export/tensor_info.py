"""What the manifest says of a graph: its interface, its weights' hash, the tools that made it."""

from __future__ import annotations

import hashlib
from importlib.metadata import version

import onnx_ir as ir

from edgeconv.bundle import Layout, TensorInfo
from edgeconv.errors import CaptureError

TOOLS = ("torch", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "ai-edge-litert", "numpy")

_CODES = {ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16}


def tool_versions() -> dict[str, str]:
    return {tool: version(tool) for tool in TOOLS}


def weights_sha256(model: ir.Model) -> str:
    """SHA-256 over the initializers of a graph: name, dtype, shape and bytes of each, by name."""
    total = hashlib.sha256()
    for name in sorted(model.graph.initializers):
        tensor = model.graph.initializers[name].const_value
        if tensor is not None:
            total.update(f"{name}:{tensor.dtype}:{tensor.shape}".encode())
            total.update(tensor.tobytes())
    return total.hexdigest()


def input_infos(model: ir.Model) -> tuple[TensorInfo, ...]:
    """The inputs of an ONNX graph; an integer one carries its DequantizeLinear's parameters."""
    return tuple(_info(value, _reader(value)) for value in model.graph.inputs)


def output_infos(model: ir.Model) -> tuple[TensorInfo, ...]:
    """The outputs of an ONNX graph; an integer one carries its QuantizeLinear's parameters."""
    return tuple(_info(value, _writer(value)) for value in model.graph.outputs)


def output_steps(model: ir.Model) -> tuple[float | None, ...]:
    """The real size of one integer step for each output of a QDQ graph; None for a float one."""
    steps: list[float | None] = []
    for value in model.graph.outputs:
        node = value.producer()
        quantized = node is not None and node.op_type == "DequantizeLinear"
        steps.append(_scalar(node.inputs[1]) if quantized and node is not None else None)
    return tuple(steps)


def _info(value: ir.Value, quantizer: ir.Node | None) -> TensorInfo:
    if not _is_static(value) or value.dtype is None:
        node = _unpredictable(value)
        if node is None:
            raise CaptureError(
                f"the shape of {value.name!r} is not known; export with fixed shapes"
            )
        raise CaptureError(
            f"the shape of output {value.name!r} is not known before the network runs, because "
            f"{node.name or value.name} ({node.op_type}) computes it; take that operator out of "
            "the exported part"
        )
    assert value.shape is not None
    shape = value.shape.numpy()
    integer = value.dtype in _CODES and quantizer is not None
    return TensorInfo(
        name=str(value.name),
        shape=shape,
        dtype=str(value.dtype.numpy()),
        layout=Layout.NCHW if len(shape) == 4 else None,
        scale=_scalar(quantizer.inputs[1]) if integer and quantizer else None,
        zero_point=_zero_point(quantizer) if integer and quantizer else None,
    )


def _is_static(value: ir.Value) -> bool:
    return value.shape is not None and value.shape.is_static()


def _unpredictable(value: ir.Value) -> ir.Node | None:
    """The first operator on the way to ``value`` whose result has no known shape."""
    node = value.producer()
    while node is not None:
        open_inputs = (item for item in node.inputs if item is not None and not _is_static(item))
        before = next((item.producer() for item in open_inputs if item.producer()), None)
        if before is None:
            return node
        node = before
    return None


def _reader(value: ir.Value) -> ir.Node | None:
    return next((node for node in value.consumers() if node.op_type == "DequantizeLinear"), None)


def _writer(value: ir.Value) -> ir.Node | None:
    node = value.producer()
    return node if node is not None and node.op_type == "QuantizeLinear" else None


def _zero_point(quantizer: ir.Node) -> int:
    """Zero where the node does not state it."""
    stated = quantizer.inputs[2] if len(quantizer.inputs) > 2 else None
    return 0 if stated is None else int(_scalar(stated))


def _scalar(value: ir.Value | None) -> float:
    assert value is not None
    assert value.const_value is not None
    return float(value.const_value.numpy())
