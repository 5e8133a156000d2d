"""If, Loop and Scan, written out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from edgeconv.errors import UnsupportedOperator
from edgeconv.export.tflite.builder import title
from edgeconv.export.tflite.legalize.functions import Attributes

if TYPE_CHECKING:
    from edgeconv.export.tflite.legalize.inline import Expansion, Frame

LONGEST = 512
"""Iterations that are written out; a file with more has tens of thousands of operators."""

Values = list[ir.Value | None]
Write = Callable[["Expansion", ir.Node, Values, Attributes, "Frame"], Values]


def _if(
    whole: Expansion, node: ir.Node, inputs: Values, attributes: Attributes, frame: Frame
) -> Values:
    """The side that is taken; where the network decides, both and a choice of their results."""
    condition = inputs[0]
    known = whole.elements(condition)
    sides = [attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    if known is not None:
        return whole.body(sides[0 if known.item() else 1], [], frame)
    yes, no = (whole.body(side, [], frame) for side in sides)
    results: Values = []
    for first, second in zip(yes, no, strict=True):
        assert condition is not None
        assert first is not None
        assert second is not None
        if first.shape != second.shape or first.shape is None:
            raise UnsupportedOperator(
                f"{title(node)}: its condition is computed by the network, and its results "
                f"{first.name} and {second.name} differ in shape; make the condition constant"
            )
        results.append(whole.emit("Where", [condition, first, second], [], frame))
    return results


def _loop(
    whole: Expansion, node: ir.Node, inputs: Values, attributes: Attributes, frame: Frame
) -> Values:
    """Its iterations, one after the other."""
    body = attributes["body"].as_graph()
    count = whole.elements(inputs[0])
    if inputs[0] is not None and count is None:
        raise _unknown_length(node)
    trips = LONGEST + 1 if count is None else int(count.item())
    going: ir.Value | None = inputs[1] if len(inputs) > 1 else None
    carried = inputs[2:]
    rows: list[Values] = [[] for _ in body.outputs[1 + len(carried) :]]
    for index in range(trips):
        if going is not None:
            known = whole.elements(going)
            if known is None:
                raise _unknown_length(node)
            if not known.item():
                break
        if index == LONGEST:
            raise _too_long(node)
        number = whole.constant(np.array(index, np.int64), f"{frame.scope}{index}")
        start = going or whole.constant(np.array(True), f"{frame.scope}going")
        going, *results = whole.body(body, [number, start, *carried], frame)
        carried = results[: len(carried)]
        for row, result in zip(rows, results[len(carried) :], strict=True):
            row.append(result)
    results = [
        _stacked(whole, node, row, 0, frame, value)
        for row, value in zip(rows, body.outputs[1 + len(carried) :], strict=True)
    ]
    return [*carried, *results]


def _scan(
    whole: Expansion, node: ir.Node, inputs: Values, attributes: Attributes, frame: Frame
) -> Values:
    """Its iterations, each with a slice of the scanned inputs."""
    body = attributes["body"].as_graph()
    scanned = attributes["num_scan_inputs"].as_int()
    carried, sources = inputs[: len(inputs) - scanned], inputs[len(inputs) - scanned :]
    outputs = body.outputs[len(carried) :]

    def stated(name: str, size: int) -> Sequence[int]:
        return attributes[name].as_ints() if name in attributes else (0,) * size

    axes = stated("scan_input_axes", scanned)
    backward = stated("scan_input_directions", scanned)
    first = sources[0]
    length = None if first is None or first.shape is None else first.shape[axes[0]]
    if not isinstance(length, int):
        raise _unknown_length(node)
    if length > LONGEST:
        raise _too_long(node)
    rows: list[Values] = [[] for _ in outputs]
    for index in range(length):
        given = [
            _slice(whole, source, axis, length - 1 - index if turned else index, frame)
            for source, axis, turned in zip(sources, axes, backward, strict=True)
        ]
        results = whole.body(body, [*carried, *given], frame)
        carried = results[: len(carried)]
        for row, result in zip(rows, results[len(carried) :], strict=True):
            row.append(result)
    stacked = [
        _stacked(whole, node, row[::-1] if turned else row, axis, frame, value)
        for row, axis, turned, value in zip(
            rows,
            stated("scan_output_axes", len(rows)),
            stated("scan_output_directions", len(rows)),
            outputs,
            strict=True,
        )
    ]
    return [*carried, *stacked]


def _slice(
    whole: Expansion, source: ir.Value | None, axis: int, index: int, frame: Frame
) -> ir.Value:
    assert source is not None
    number = whole.constant(np.array(index, np.int64), f"{frame.scope}{index}")
    return whole.emit("Gather", [source, number], [ir.AttrInt64("axis", axis)], frame)


def _stacked(
    whole: Expansion,
    node: ir.Node,
    row: Values,
    axis: int,
    frame: Frame,
    declared: ir.Value,
) -> ir.Value:
    """The results of all iterations, along a new axis."""
    if not row:
        shape, dtype = declared.shape, declared.dtype
        if shape is None or not shape.is_static() or dtype is None:
            raise _unknown_length(node)
        empty = [*shape.numpy()]
        empty.insert(axis % (len(empty) + 1), 0)
        return whole.constant(np.zeros(empty, dtype.numpy()), f"{frame.scope}nothing")
    along = whole.constant(np.array([axis], np.int64), f"{frame.scope}axis")
    raised = [whole.emit("Unsqueeze", [item, along], [], frame) for item in row if item is not None]
    return whole.emit("Concat", raised, [ir.AttrInt64("axis", axis)], frame)


def _unknown_length(node: ir.Node) -> UnsupportedOperator:
    return UnsupportedOperator(
        f"{title(node)}: the number of its iterations is computed by the network; "
        "make it constant, and export with fixed shapes"
    )


def _too_long(node: ir.Node) -> UnsupportedOperator:
    return UnsupportedOperator(
        f"{title(node)}: it has more than the {LONGEST} iterations that are written out; "
        "feed the network a window at a time"
    )


CONTROL: dict[str, Write] = {"If": _if, "Loop": _loop, "Scan": _scan}
