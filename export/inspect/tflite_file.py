"""Inspection of a TFLite file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from edgeconv.bundle import Format
from edgeconv.export.activation_memory import Step, Storage, peak_bytes
from edgeconv.export.inspect.dtypes import QUANTIZED, is_real
from edgeconv.export.inspect.macs import tflite_macs
from edgeconv.export.inspect.report import (
    FileReport,
    OperatorReport,
    QuantizationReport,
    TensorReport,
    quantization_kind,
    total_macs,
    unknown_macs,
)
from edgeconv.export.inspect.runtimes import lowest_tflite_runtime
from edgeconv.export.inspect.tflite_graph import Graph, Model, Operator, Tensor, read_model

_VIEWS = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "BITCAST"}
_IN_PLACE = {
    *{"RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "LEAKY_RELU", "PRELU", "ELU", "GELU"},
    *{"HARD_SWISH", "LOGISTIC", "TANH", "ABS", "NEG", "EXP", "LOG", "SQRT", "RSQRT", "SQUARE"},
    *{"SIN", "COS", "FLOOR", "CEIL", "ROUND", "SIGN"},
}
_BORDERS = {"QUANTIZE", "DEQUANTIZE"}
_CONVERSIONS = {*_BORDERS, "CAST"}


def inspect_tflite(path: Path, data: bytes) -> FileReport:
    """Describe a TFLite file.

    Raises:
        DataError: The bytes are not a whole and consistent TFLite file.
    """
    model = read_model(data, str(path))
    main = model.graphs[0]
    operators = _operators(model)
    parameters = _parameter_dtypes(model)
    versions: dict[str, list[int]] = defaultdict(list)
    custom = set()
    for _, operator in _walk(model):
        if operator.custom:
            custom.add(operator.name)
        else:
            versions[operator.name].append(operator.version)
    notes = [f"the runtime needs the custom operator {name}" for name in sorted(custom)]
    notes += unknown_macs(operators)
    if any(any(tensor.dynamic) for tensor in main.tensors):
        notes.append("MACs and activation memory take every dynamic dimension as 1")
    return FileReport(
        path=str(path),
        format=Format.TFLITE,
        producer=model.description,
        opset=None,
        ir_version=None,
        bytes=len(data),
        weight_bytes=model.buffer_bytes,
        parameters=sum(parameters.values()),
        parameter_dtypes=parameters,
        macs=total_macs(operators),
        peak_activation_bytes=_peak(main),
        inputs=tuple(_border(main.tensors[index]) for index in main.inputs),
        outputs=tuple(_border(main.tensors[index]) for index in main.outputs),
        operators=operators,
        quantization=_quantization(model),
        lowest_runtime=lowest_tflite_runtime(versions),
        notes=tuple(notes),
    )


def _walk(model: Model) -> Iterator[tuple[Graph, Operator]]:
    for graph in model.graphs:
        for operator in graph.operators:
            yield graph, operator


def _inputs(graph: Graph, operator: Operator) -> list[Tensor]:
    return [graph.tensors[index] for index in operator.inputs if index >= 0]


def _operators(model: Model) -> tuple[OperatorReport, ...]:
    macs: dict[tuple[bool, str, int], list[int | None]] = defaultdict(list)
    for graph, operator in _walk(model):
        cost = tflite_macs(
            operator.name,
            [graph.tensors[index].shape if index >= 0 else None for index in operator.inputs],
            [graph.tensors[index].shape for index in operator.outputs],
            {"adj_x": operator.adj_x},
        )
        macs[operator.custom, operator.name, operator.version].append(cost)
    return tuple(
        OperatorReport(
            name=name,
            domain="custom" if custom else "",
            version=version,
            count=len(costs),
            macs=None if None in costs else sum(cost or 0 for cost in costs),
        )
        for (custom, name, version), costs in sorted(macs.items())
    )


def _parameter_dtypes(model: Model) -> dict[str, int]:
    """Elements of the parameters by dtype; tensors that share a buffer count once."""
    counted: dict[int, Tensor] = {}
    for graph, operator in _walk(model):
        for tensor in _inputs(graph, operator):
            if tensor.stored and tensor.shape and is_real(tensor.dtype, tensor.scales):
                counted.setdefault(tensor.buffer, tensor)
    totals: Counter[str] = Counter()
    for tensor in counted.values():
        totals[tensor.dtype] += tensor.elements
    return dict(sorted(totals.items()))


def _peak(graph: Graph) -> int:
    constants = _computed_at_load(graph)
    sizes = {
        index: tensor.bytes
        for index, tensor in enumerate(graph.tensors)
        if tensor.stored is None and index not in constants
    }
    steps = [Step(op.inputs, op.outputs, _storage(op)) for op in graph.operators]
    return peak_bytes(steps, sizes, graph.inputs, graph.outputs)


def _computed_at_load(graph: Graph) -> set[int]:
    """Constants that are stored in another type; runtimes dequantize them once, at load."""
    return {
        index
        for operator in graph.operators
        if operator.name == "DEQUANTIZE"
        and any(graph.tensors[read].stored is not None for read in operator.inputs[:1])
        for index in operator.outputs
    }


def _storage(operator: Operator) -> Storage:
    if operator.custom:
        return Storage.NEW
    if operator.name in _VIEWS:
        return Storage.VIEW
    return Storage.IN_PLACE if operator.name in _IN_PLACE else Storage.NEW


def _quantization(model: Model) -> QuantizationReport:
    names = Counter(operator.name for _, operator in _walk(model))
    activations, weights, floats = set(), {}, Counter[str]()
    dynamic = False
    for graph, operator in _walk(model):
        outputs = [graph.tensors[index] for index in operator.outputs]
        moving = [tensor for tensor in _inputs(graph, operator) if not tensor.stored] + outputs
        activations |= {tensor.dtype for tensor in moving if _is_quantized(tensor)}
        computes_in_float = any("float" in t.dtype for t in moving)
        # Float activations and integer weights: a hybrid kernel quantizes the activations itself.
        hybrid = computes_in_float and any(map(_is_weight, _inputs(graph, operator)))
        if operator.name not in _CONVERSIONS and hybrid:
            dynamic = True
        elif operator.name not in _CONVERSIONS and computes_in_float:
            floats[operator.name] += 1
        for tensor in _inputs(graph, operator):
            if _is_weight(tensor):
                weights[tensor.buffer] = len(tensor.scales) > 1
    kind = quantization_kind(bool(activations), bool(weights), bool(floats), dynamic)
    return QuantizationReport(
        kind=kind,
        activations=tuple(sorted(activations)),
        per_channel_weights=sum(weights.values()),
        per_tensor_weights=len(weights) - sum(weights.values()),
        quantize=names["QUANTIZE"],
        dequantize=names["DEQUANTIZE"],
        float_operators=dict(sorted(floats.items())) if activations or weights else {},
    )


def _is_weight(tensor: Tensor) -> bool:
    return bool(tensor.stored and tensor.shape) and _is_quantized(tensor)


def _is_quantized(tensor: Tensor) -> bool:
    """Whether the integers stand for real numbers; an int32 bias does not count as a weight."""
    return bool(tensor.scales) and tensor.dtype in QUANTIZED


def _border(tensor: Tensor) -> TensorReport:
    per_tensor = len(tensor.scales) == 1
    return TensorReport(
        name=tensor.name,
        shape=tuple(
            "?" if dynamic else size
            for size, dynamic in zip(tensor.shape, tensor.dynamic, strict=True)
        ),
        dtype=tensor.dtype,
        scale=tensor.scales[0] if per_tensor else None,
        zero_point=next(iter(tensor.zero_points), 0) if per_tensor else None,
    )
