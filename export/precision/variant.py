"""One network in one precision, in the forms that the two formats start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import onnx_ir as ir

from edgeconv.bundle import IoType, Precision
from edgeconv.export.image_input import Normalization
from edgeconv.export.precision.float16_onnx import float16_model
from edgeconv.export.precision.float16_tflite import halve_constants
from edgeconv.export.precision.half_layers import (
    half_layers,
    with_half_weights,
    with_rounded_weights,
)
from edgeconv.export.precision.int8_dynamic_onnx import quantize_dynamically
from edgeconv.export.precision.int8_dynamic_tflite import quantize_weights
from edgeconv.export.precision.int16_islands import with_islands
from edgeconv.export.precision.int16x8_onnx import refuse_lost_bounds, widen
from edgeconv.export.precision.int16x8_tflite import widen_graph, widen_islands
from edgeconv.export.precision.prequantized import mark_float_of_int16
from edgeconv.export.precision.transforms import with_exact_transforms
from edgeconv.export.quantize import QuantizedModel, apply_io
from edgeconv.export.quantize.float_layers import with_float_layers
from edgeconv.export.quantize.tables import with_integer_tables
from edgeconv.export.tensor_info import output_steps
from edgeconv.export.tflite.forms import USUAL, Forms
from edgeconv.export.tflite.graph import Graph


@dataclass(frozen=True)
class QuantizedGraph:
    """What the files of a quantized precision should compute.

    Attributes:
        model: The quantized graph with float inputs and outputs.
        steps: The real size of one step of each output; None for a float one.
        lowered_from: The graph with float inputs and outputs that the TFLite file is made from.
        finish: What is done to the TFLite graph after that.
        forms: The forms of int8 operators that the TFLite file has instead of the usual ones.
        fixed_scales: Whether all scales stand in the graph; otherwise the file finds some of them
            while it runs, and there is nothing to cut at.
    """

    model: ir.Model
    steps: tuple[float | None, ...]
    lowered_from: ir.Model
    finish: Callable[[Graph], tuple[str, ...]] = lambda graph: ()
    forms: Forms = USUAL
    fixed_scales: bool = True


@dataclass(frozen=True)
class Variant:
    """What is written in one precision.

    Attributes:
        onnx: the graph of the ONNX file, with the interface that the file shall have.
        tflite: the graph that the TFLite file is lowered from.
        finish: what is done to the TFLite graph after that; it returns what that leaves in float.
        forms: the forms of int8 operators that the TFLite file has instead of the usual ones.
        checked: what a quantized file should compute; None for a float one.
        float_fallback: what stays in float in a quantized graph, with the reason.
    """

    precision: Precision
    onnx: ir.Model
    tflite: ir.Model
    finish: Callable[[Graph], tuple[str, ...]] = lambda graph: ()
    forms: Forms = USUAL
    checked: QuantizedGraph | None = None
    float_fallback: tuple[str, ...] = ()


def make_variant(
    precision: Precision,
    graph: ir.Model,
    quantized: QuantizedModel | None,
    io: IoType,
    existing: Precision | None = None,
    *,
    half_arithmetic: bool = False,
    forms: Forms = USUAL,
) -> Variant:
    """Express ``graph`` in ``precision``.

    Args:
        precision: what to make of it.
        graph: the float graph.
        quantized: its QDQ form, for the calibrated precisions; that of int16x8 has room.
        existing: the precision of ``graph`` where it is pre-quantized.
        half_arithmetic: whether float16 files may be computed in half precision.
        forms: the forms of int8 operators that TFLite files get instead of the usual ones.
        io: element type of the inputs and outputs where ``precision`` can have it.

    Raises:
        UsageError: the network has nothing that ``precision`` covers.
        UnsupportedOperator: ``precision`` cannot express a node.
    """
    io = io if io.fits(precision) else IoType.FLOAT32
    if precision is Precision.FLOAT32:
        return Variant(precision, onnx=with_exact_transforms(graph), tflite=graph)
    if precision is Precision.FLOAT16:
        return Variant(
            precision,
            onnx=float16_model(with_exact_transforms(graph), io),
            tflite=graph,
            finish=partial(halve_constants, half_arithmetic=half_arithmetic),
        )
    if precision is Precision.INT8_DYNAMIC:
        dynamic = quantize_dynamically(graph)
        return Variant(
            precision,
            onnx=dynamic.model,
            tflite=graph,
            finish=partial(quantize_weights, weights=dynamic.weights),
            checked=QuantizedGraph(
                dynamic.model, (None,) * len(graph.graph.outputs), graph, fixed_scales=False
            ),
            float_fallback=dynamic.float_fallback,
        )
    assert quantized is not None
    if precision is Precision.INT16X8 and existing is not Precision.INT16X8:
        return _on_pictures(_widened(graph, quantized, io), quantized.entrance)
    model, with_io = quantized.model, apply_io(quantized.model, io)
    finish: Callable[[Graph], tuple[str, ...]] = _unchanged
    if existing is Precision.INT16X8:
        for each in (model, with_io):
            mark_float_of_int16(each)
        finish = widen_islands
    if quantized.int16:
        roomy = quantized.roomy
        model, with_io = (
            with_islands(each, quantized.int16, quantized.in_float, roomy)
            for each in (model, with_io)
        )
        finish = widen_islands
    half = half_layers(quantized)
    if half:
        model, with_io = (with_rounded_weights(each, half) for each in (model, with_io))
        finish = partial(_with_half_constants, finish)
    variant = Variant(
        precision,
        onnx=with_half_weights(_for_onnx(with_io), half) if half else _for_onnx(with_io),
        tflite=with_io,
        finish=finish,
        forms=forms,
        checked=QuantizedGraph(_for_onnx(model), output_steps(model), model, finish, forms),
        float_fallback=quantized.float_fallback,
    )
    return _on_pictures(variant, quantized.entrance)


def _on_pictures(variant: Variant, before: Normalization | None) -> Variant:
    """A quantized variant whose graphs take pictures, if there is something to do to them."""
    checked = variant.checked
    if before is None or checked is None:
        return variant
    graphs = (variant.onnx, variant.tflite, checked.model, checked.lowered_from)
    made = {id(graph): before.in_front(graph) for graph in graphs}
    onnx, tflite, model, lowered_from = (made[id(graph)] for graph in graphs)
    return replace(
        variant,
        onnx=onnx,
        tflite=tflite,
        checked=replace(checked, model=model, lowered_from=lowered_from),
    )


def _for_onnx(model: ir.Model) -> ir.Model:
    """A QDQ graph in the form that ONNX Runtime computes as it is meant."""
    return with_integer_tables(with_float_layers(model))


def _with_half_constants(
    finish: Callable[[Graph], tuple[str, ...]], graph: Graph
) -> tuple[str, ...]:
    left = finish(graph)
    halve_constants(graph, only_exact=True)
    return left


def _unchanged(graph: Graph) -> tuple[str, ...]:
    return ()


def _widened(graph: ir.Model, quantized: QuantizedModel, io: IoType) -> Variant:
    """The int8 graph with activations of 16 bits; the TFLite file is lowered as int8 before."""
    refuse_lost_bounds(graph, quantized.in_float)
    model = _for_onnx(widen(quantized.model))
    narrow_io = IoType.INT8 if io is IoType.INT16 else IoType.FLOAT32
    return Variant(
        Precision.INT16X8,
        onnx=apply_io(model, io),
        tflite=apply_io(quantized.model, narrow_io),
        finish=widen_graph,
        checked=QuantizedGraph(model, output_steps(model), quantized.model, widen_graph),
        float_fallback=quantized.float_fallback,
    )
