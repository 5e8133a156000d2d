"""What the manifest says about a graph: interface, hash of the weights, tools that made it."""

from __future__ import annotations

import hashlib
from importlib.metadata import version

import onnx_ir as ir

from edgeconv.bundle import OPEN, TensorInfo
from edgeconv.errors import CaptureError
from edgeconv.export.cut_places import part_before
from edgeconv.export.layouts import layout_of

TOOLS = ("torch", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "ai-edge-litert", "numpy")

_QUANTIZED = {ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16}


def tool_versions() -> dict[str, str]:
    """Return the installed versions of the packages that make the files, by name."""
    return {tool: version(tool) for tool in TOOLS}


def weights_sha256(model: ir.Model) -> str:
    """Hash the name, dtype, shape and bytes of each initializer of a graph, in order of names."""
    total = hashlib.sha256()
    for name in sorted(model.graph.initializers):
        tensor = model.graph.initializers[name].const_value
        if tensor is not None:
            total.update(f"{name}:{tensor.dtype}:{tensor.shape}".encode())
            total.update(tensor.tobytes())
    return total.hexdigest()


def input_infos(model: ir.Model) -> tuple[TensorInfo, ...]:
    """Describe a graph's inputs, integer ones with the parameters of their DequantizeLinear."""
    return tuple(_info(value, _reader(value)) for value in model.graph.inputs)


def output_infos(model: ir.Model) -> tuple[TensorInfo, ...]:
    """Describe a graph's outputs, integer ones with the parameters of their QuantizeLinear."""
    return tuple(_info(value, _writer(value)) for value in model.graph.outputs)


def output_steps(model: ir.Model) -> tuple[float | None, ...]:
    """Return the size of one integer step of each output of a QDQ graph; None for a float one."""
    steps: list[float | None] = []
    for value in model.graph.outputs:
        node = value.producer()
        quantized = node is not None and node.op_type == "DequantizeLinear"
        steps.append(_scalar(node.inputs[1]) if quantized and node is not None else None)
    return tuple(steps)


def _info(value: ir.Value, quantizer: ir.Node | None) -> TensorInfo:
    if value.shape is None or value.dtype is None:
        node = _unpredictable(value)
        if node is None:
            raise CaptureError(
                f"the shape of {value.name!r} is not known", hint="export with fixed shapes"
            )
        raise CaptureError(
            f"the shape of output {value.name!r} is not known before the network runs, because "
            f"{node.name or value.name} ({node.op_type}) computes it",
            hint=f"state the shape of {value.name!r} in the file, or {part_before(node)}",
        )
    assert value.shape is not None
    shape = tuple(dim if isinstance(dim, int) else OPEN for dim in value.shape)
    integer = value.dtype in _QUANTIZED and quantizer is not None
    return TensorInfo(
        name=str(value.name),
        shape=shape,
        dtype=str(value.dtype.numpy()),
        layout=layout_of(value),
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
