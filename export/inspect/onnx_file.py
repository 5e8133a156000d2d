"""Inspection of an ONNX file."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from edgeconv.bundle import Format
from edgeconv.export.activation_memory import Step, Storage, peak_bytes
from edgeconv.export.inspect.dtypes import is_real, size_of
from edgeconv.export.inspect.macs import onnx_macs
from edgeconv.export.inspect.onnx_graph import Border, Model, Node, read_model
from edgeconv.export.inspect.onnx_quantization import Quantization, analyze
from edgeconv.export.inspect.report import (
    FileReport,
    OperatorReport,
    TensorReport,
    total_macs,
    unknown_macs,
)
from edgeconv.export.inspect.runtimes import lowest_onnxruntime
from edgeconv.export.traits import Trait, operators

_VIEWS = operators(Trait.VIEWS)
_IN_PLACE = {
    *{"Relu", "Clip", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Gelu", "ThresholdedRelu"},
    *{"Sigmoid", "HardSigmoid", "HardSwish", "Mish", "Softplus", "Softsign", "Tanh", "Erf"},
    *{"Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Sin", "Cos", "Floor", "Ceil", "Round"},
    *{"Sign"},
}
_OURS = {"", "com.microsoft"}  # domains that the MAC formulas know

# Inputs that steer an operator rather than take part: limits, sizes, scales, zero points.
_STEERING = {
    "Clip": {1, 2},
    "Pad": {1, 2, 3},
    "Resize": {1, 2, 3},
    "Upsample": {1},
    "QuantizeLinear": {1, 2},
    "DequantizeLinear": {1, 2},
    "QLinearConv": {1, 2, 4, 5, 6, 7},
    "QLinearMatMul": {1, 2, 4, 5, 6, 7},
    "QGemm": {1, 2, 4, 5, 7, 8},
    "ConvInteger": {2, 3},
    "MatMulInteger": {2, 3},
}
_INTEGER_WEIGHTS = {
    *{"DequantizeLinear", "QLinearConv", "QLinearMatMul", "QGemm"},
    *{"ConvInteger", "MatMulInteger"},
}


def inspect_onnx(path: Path, data: bytes) -> FileReport:
    """Describe an ONNX file; its external data is measured, not read.

    Raises:
        DataError: The bytes are not a whole and consistent ONNX file, or its external data is
            missing or lies outside its folder.
    """
    model = read_model(data, path)
    quantization = analyze(model)
    operators = _operators(model)
    parameters = _parameter_dtypes(model)
    peak = _peak(model, quantization)
    notes = [*model.notes, *unknown_macs(operators)]
    if peak is None:
        notes.append("activation memory is not known, because some shapes are not")
    return FileReport(
        path=str(path),
        format=Format.ONNX,
        producer=model.producer,
        opset=model.opsets[""],
        ir_version=model.ir_version,
        bytes=len(data) + sum(file.stat().st_size for file in model.external_files),
        weight_bytes=model.constant_bytes,
        parameters=sum(parameters.values()),
        parameter_dtypes=parameters,
        macs=total_macs(operators),
        peak_activation_bytes=peak,
        inputs=tuple(_border(model, border, "DequantizeLinear") for border in model.inputs),
        outputs=tuple(_border(model, border, "QuantizeLinear") for border in model.outputs),
        operators=operators,
        quantization=quantization.report,
        lowest_runtime=lowest_onnxruntime(model.opsets[""], model.ir_version),
        notes=tuple(notes),
    )


def _operators(model: Model) -> tuple[OperatorReport, ...]:
    macs: dict[tuple[str, str], list[int | None]] = defaultdict(list)
    for node in model.nodes:
        macs[node.domain, node.operator].append(macs_of(model, node))
    return tuple(
        OperatorReport(
            name=name,
            domain=domain,
            version=model.opsets.get(domain, 1),
            count=len(costs),
            macs=None if None in costs else sum(cost or 0 for cost in costs),
        )
        for (domain, name), costs in sorted(macs.items())
    )


def macs_of(model: Model, node: Node) -> int | None:
    """MACs of one node; see :func:`edgeconv.export.inspect.macs.onnx_macs`."""
    if node.domain not in _OURS:
        return 0
    inputs = [_shape(model, name) for name in node.inputs]
    outputs = [_shape(model, name) for name in node.outputs]
    return onnx_macs(node.operator, inputs, outputs, node.attributes)


def _shape(model: Model, name: str) -> tuple[int, ...] | None:
    value = model.values.get(name)
    return value.shape if value else None


def _parameter_dtypes(model: Model) -> dict[str, int]:
    """Elements by dtype of the constants that hold real numbers, each constant once."""
    names = {name for node in model.nodes for name in weights_of(model, node)}
    totals: Counter[str] = Counter()
    for name in names:
        totals[model.constants[name].dtype] += model.constants[name].elements
    return dict(sorted(totals.items()))


def weights_of(model: Model, node: Node) -> set[str]:
    """The constants among a node's inputs that hold real numbers, as weights and biases do."""
    steering = _STEERING.get(node.operator, set())
    # The remaining constants of an integer operator are weights and biases.
    scaled = [1.0] if node.operator in _INTEGER_WEIGHTS else []
    values = {
        name: model.constants[name]
        for index, name in enumerate(node.inputs)
        if name in model.constants and index not in steering
    }
    return {name for name, value in values.items() if value.shape and is_real(value.dtype, scaled)}


def _peak(model: Model, quantization: Quantization) -> int | None:
    """The peak in a runtime that fuses QuantizeLinear and DequantizeLinear where it can."""
    inputs = [border.name for border in model.inputs]
    outputs = [border.name for border in model.outputs]
    nodes = [node for node in model.nodes if not node.nested]
    sizes: dict[str, int] = {}
    for name in (*inputs, *(name for node in nodes for name in node.outputs)):
        if not name or name in quantization.constants:
            continue
        value = model.values.get(name)
        if value is None or value.shape is None:
            return None
        dtype = "int8" if name in quantization.fused else value.dtype
        sizes[name] = size_of(dtype, value.elements)
    steps = [Step(node.inputs, node.outputs, _storage(node, quantization)) for node in nodes]
    return peak_bytes(steps, sizes, inputs, outputs)


def _storage(node: Node, quantization: Quantization) -> Storage:
    if node.operator in _VIEWS:
        return Storage.VIEW
    if node.operator == "QuantizeLinear" and node.inputs[0] in quantization.fused:
        return Storage.VIEW
    if node.operator == "DequantizeLinear" and quantization.fused.issuperset(node.outputs):
        return Storage.VIEW
    return Storage.IN_PLACE if node.operator in _IN_PLACE else Storage.NEW


def _border(model: Model, border: Border, converter: str) -> TensorReport:
    """Describe an input or output; the ``converter`` beside it has its scale and zero point.

    DequantizeLinear reads an integer input, QuantizeLinear writes an integer output.
    """
    scale = zero_point = None
    for node in model.nodes:
        names = node.inputs[:1] if converter == "DequantizeLinear" else node.outputs
        if node.operator == converter and border.name in names and len(node.inputs) > 1:
            scale = model.scalars.get(node.inputs[1])
            stored = model.scalars.get(node.inputs[2], 0) if len(node.inputs) > 2 else 0
            zero_point = None if scale is None else int(stored)
    return TensorReport(
        name=border.name,
        shape=border.shape,
        dtype=border.dtype,
        scale=scale,
        zero_point=zero_point,
    )
