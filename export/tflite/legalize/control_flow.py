"""Writes out If, Loop and Scan."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from edgeconv.errors import UnsupportedOperator
from edgeconv.export.cut_places import part_before
from edgeconv.export.tflite.builder import title
from edgeconv.export.tflite.legalize.call import Call
from edgeconv.export.tflite.legalize.new_graph import Frame, NewGraph

LONGEST = 512
"""Iterations that are written out; a file with more has tens of thousands of operators."""

Values = list[ir.Value | None]
WriteBody = Callable[[ir.Graph, Sequence[ir.Value | None], Frame], Values]
"""Writes the nodes of a body for these inputs and returns its outputs."""
Write = Callable[[NewGraph, WriteBody, Call, Frame], Values]


def _if(new: NewGraph, write_body: WriteBody, call: Call, frame: Frame) -> Values:
    """Write out the branch that is taken; if the network decides, both and a selection."""
    node, condition = call.node, call.inputs[0]
    known = new.elements(condition)
    sides = [call.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    if known is not None:
        return write_body(sides[0 if known.item() else 1], [], frame)
    yes, no = (write_body(side, [], frame) for side in sides)
    results: Values = []
    for first, second in zip(yes, no, strict=True):
        assert condition is not None
        assert first is not None
        assert second is not None
        if first.shape != second.shape or first.shape is None:
            raise UnsupportedOperator(
                f"{title(node)}: its condition is computed by the network, and its results "
                f"{first.name} and {second.name} differ in shape",
                hint=f"make the condition constant, {part_before(node)}, or pass only "
                "--format onnx",
            )
        results.append(new.emit("Where", [condition, first, second], [], frame))
    return results


def _loop(new: NewGraph, write_body: WriteBody, call: Call, frame: Frame) -> Values:
    """Write out the iterations, one after the other."""
    node, body = call.node, call.attributes["body"].as_graph()
    count = new.elements(call.inputs[0])
    if call.inputs[0] is not None and count is None:
        raise _unknown_length(node)
    trips = LONGEST + 1 if count is None else int(count.item())
    going: ir.Value | None = call.inputs[1] if len(call.inputs) > 1 else None
    carried: Values = [*call.inputs[2:]]
    rows: list[Values] = [[] for _ in body.outputs[1 + len(carried) :]]
    for index in range(trips):
        if going is not None:
            known = new.elements(going)
            if known is None:
                raise _unknown_length(node)
            if not known.item():
                break
        if index == LONGEST:
            raise _too_long(node)
        number = new.constant(np.array(index, np.int64), f"{frame.scope}{index}")
        start = going or new.constant(np.array(True), f"{frame.scope}going")
        going, *results = write_body(body, [number, start, *carried], frame)
        carried = results[: len(carried)]
        for row, result in zip(rows, results[len(carried) :], strict=True):
            row.append(result)
    results = [
        _stacked(new, node, row, 0, frame, value)
        for row, value in zip(rows, body.outputs[1 + len(carried) :], strict=True)
    ]
    return [*carried, *results]


def _scan(new: NewGraph, write_body: WriteBody, call: Call, frame: Frame) -> Values:
    """Write out the iterations, each with a slice of the scanned inputs."""
    node, body = call.node, call.attributes["body"].as_graph()
    scanned = call.attributes["num_scan_inputs"].as_int()
    first_scanned = len(call.inputs) - scanned
    carried: Values = [*call.inputs[:first_scanned]]
    sources = call.inputs[first_scanned:]
    outputs = body.outputs[len(carried) :]

    def stated(name: str, size: int) -> Sequence[int]:
        return call.attributes[name].as_ints() if name in call.attributes else (0,) * size

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
            _slice(new, source, axis, length - 1 - index if turned else index, frame)
            for source, axis, turned in zip(sources, axes, backward, strict=True)
        ]
        results = write_body(body, [*carried, *given], frame)
        carried = results[: len(carried)]
        for row, result in zip(rows, results[len(carried) :], strict=True):
            row.append(result)
    stacked = [
        _stacked(new, node, row[::-1] if turned else row, axis, frame, value)
        for row, axis, turned, value in zip(
            rows,
            stated("scan_output_axes", len(rows)),
            stated("scan_output_directions", len(rows)),
            outputs,
            strict=True,
        )
    ]
    return [*carried, *stacked]


def _slice(new: NewGraph, source: ir.Value | None, axis: int, index: int, frame: Frame) -> ir.Value:
    assert source is not None
    number = new.constant(np.array(index, np.int64), f"{frame.scope}{index}")
    return new.emit("Gather", [source, number], [ir.AttrInt64("axis", axis)], frame)


def _stacked(
    new: NewGraph,
    node: ir.Node,
    row: Values,
    axis: int,
    frame: Frame,
    declared: ir.Value,
) -> ir.Value:
    """Join the results of all iterations along a new axis."""
    if not row:
        shape, dtype = declared.shape, declared.dtype
        if shape is None or not shape.is_static() or dtype is None:
            raise _unknown_length(node)
        empty = [*shape.numpy()]
        empty.insert(axis % (len(empty) + 1), 0)
        return new.constant(np.zeros(empty, dtype.numpy()), f"{frame.scope}nothing")
    along = new.constant(np.array([axis], np.int64), f"{frame.scope}axis")
    raised = [new.emit("Unsqueeze", [item, along], [], frame) for item in row if item is not None]
    return new.emit("Concat", raised, [ir.AttrInt64("axis", axis)], frame)


def _unknown_length(node: ir.Node) -> UnsupportedOperator:
    return UnsupportedOperator(
        f"{title(node)}: the number of its iterations is computed by the network",
        hint="make it constant and export with fixed shapes, or pass only --format onnx",
    )


def _too_long(node: ir.Node) -> UnsupportedOperator:
    return UnsupportedOperator(
        f"{title(node)}: it has more than the {LONGEST} iterations that are written out",
        hint="feed the network a window at a time, or pass only --format onnx",
    )


CONTROL: dict[str, Write] = {"If": _if, "Loop": _loop, "Scan": _scan}
