"""Exact products of integers on ONNX Runtime, whatever the processor.

x86 processors without VNNI add products of uint8 and int8 in 16 bits, where they saturate: ONNX
Runtime is wrong there by up to the whole range, unless a session says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

Settings = dict[str, str]

# int8 weights beside uint8 activations become uint8.
_UINT8_WEIGHTS = {"session.x64quantprecision": "1"}
_FOLDER = "session.model_external_initializers_file_folder_path"  # of a model that is bytes
_OWN = "_own_constant_"  # in the names of constants that are added


@dataclass(frozen=True)
class _Products:
    """Where an operator that multiplies integers reads them.

    Attributes:
        left: The zero point of the activations, whose type is theirs; None where they become uint8.
        weights: The weights.
        zero_point: Their zero point.
    """

    left: int | None
    weights: int
    zero_point: int


_PRODUCTS = {
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QGemm"), _Products(2, 3, 5)),
    **dict.fromkeys(("MatMulInteger", "ConvInteger"), _Products(2, 1, 3)),
    "MatMulIntegerToFloat": _Products(4, 1, 5),
    "DynamicQuantizeMatMul": _Products(None, 1, 3),
}
_UINT8_FROM_INT8 = 128


def exact_form(model: Path | bytes) -> tuple[Path | bytes, Settings]:
    """A model in a form that computes the same, and the settings with which its session is exact.

    Where such a session has no kernel, as beside int8 activations, none is needed without the
    settings: products of int8 and int8 are exact.

    As it makes weights uint8, ONNX Runtime refuses a model in which two of them share numbers or a
    zero point, leaves those alone that lie outside of the body that reads them, and where a zero
    point is left out it adds one of the wrong shape. In this form each reader has its own. Weights
    of operators that multiply integers are uint8 in it: ONNX Runtime does not make them so in a
    session without optimization, nor if others stand beside int8 activations.

    Args:
        model: The path of an ``.onnx`` file, or its bytes.
    """
    if not saturates():
        return model, {}
    try:
        if isinstance(model, Path):
            proto = onnx.load(model, load_external_data=False)
        else:
            proto = onnx.load_model_from_string(model)
    except Exception:  # of protobuf or onnx; ONNX Runtime says what is wrong with it
        return model, _UINT8_WEIGHTS
    if not _make_exact(proto.graph, {}, set(), model.parent if isinstance(model, Path) else None):
        return model, _UINT8_WEIGHTS
    beside = {_FOLDER: str(model.parent)} if isinstance(model, Path) else {}
    return proto.SerializeToString(), {**_UINT8_WEIGHTS, **beside}


def _make_exact(
    graph: onnx.GraphProto,
    outer: Mapping[str, TensorProto],
    unsigned: Set[str],
    folder: Path | None,
) -> bool:
    """Change a graph and its bodies; whether there was anything to change.

    Args:
        graph: The graph, in place.
        outer: The constants of the graphs around it, by name.
        unsigned: The uint8 zero points of those graphs, computed ones too.
        folder: Where the file lies, beside which it may keep its weights.
    """
    inner = _constants(graph)
    own = {value.name for value in graph.input} | {
        name for node in graph.node for name in node.output
    }
    outer = {name: each for name, each in outer.items() if name not in own}
    unsigned = (unsigned - own) | _unsigned(graph)
    changed = [
        _copy_outer(graph, outer),
        _part_readers(graph),
        _state_zero_points(graph, {**outer, **inner}),
        _make_weights_uint8(graph, unsigned, folder),
        _part_constants(graph),
    ]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                around = {**outer, **inner}
                changed += [_make_exact(attribute.g, around, unsigned, folder)]
    return any(changed)


def _constants(graph: onnx.GraphProto) -> dict[str, TensorProto]:
    inputs = {value.name for value in graph.input}
    found = {each.name: each for each in graph.initializer if each.name not in inputs}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    return found


def _int8_constants(graph: onnx.GraphProto) -> dict[str, TensorProto]:
    constants = _constants(graph)
    return {name: each for name, each in constants.items() if each.data_type == TensorProto.INT8}


def _copy_outer(body: onnx.GraphProto, outer: Mapping[str, TensorProto]) -> bool:
    """Give a body copies of the int8 constants outside of it; whether it reads any."""
    copies = dict[str, str]()
    own = {each.name for each in body.initializer}
    for node in body.node:
        for index, name in enumerate(node.input):
            if name in own or name not in outer or outer[name].data_type != TensorProto.INT8:
                continue
            if name not in copies:
                copy = body.initializer.add()
                copy.CopyFrom(outer[name])
                copy.name = copies[name] = f"{name}{_OWN}{node.output[0]}"
            node.input[index] = copies[name]
    return bool(copies)


def _make_weights_uint8(graph: onnx.GraphProto, unsigned: Set[str], folder: Path | None) -> bool:
    """Make int8 weights beside uint8 activations uint8; whether there were any."""
    constants, made = _int8_constants(graph), False

    def as_uint8(node: onnx.NodeProto, index: int) -> None:
        codes = np.zeros((), np.int8)
        if name := node.input[index]:
            codes = numpy_helper.to_array(constants[name], str(folder or ""))
        shifted = (codes.astype(np.int16) + _UINT8_FROM_INT8).astype(np.uint8)
        node.input[index] = f"{name}{_OWN}{node.output[0]}_{index}"
        graph.initializer.append(numpy_helper.from_array(shifted, node.input[index]))

    for node in graph.node:
        where = _PRODUCTS.get(node.op_type)
        if where is None:
            continue
        given = [*node.input, *[""] * (where.zero_point + 1 - len(node.input))]
        right = [given[where.weights], given[where.zero_point]]
        known = right[0] in constants and (not right[1] or right[1] in constants)
        if known and (where.left is None or given[where.left] in unsigned):
            node.input[:] = given
            as_uint8(node, where.weights)
            as_uint8(node, where.zero_point)
            made = True
    return made


def _unsigned(graph: onnx.GraphProto) -> set[str]:
    """The constants of a graph that are uint8, and the zero points that it computes."""
    constants = _constants(graph)
    found = {name for name, each in constants.items() if each.data_type == TensorProto.UINT8}
    computed = (node for node in graph.node if node.op_type == "DynamicQuantizeLinear")
    return found | {name for node in computed for name in node.output[2:3]}


def _part_readers(graph: onnx.GraphProto) -> bool:
    """Give each reader of an int8 weight a DequantizeLinear; whether there are two of one."""
    constants, nodes = _int8_constants(graph), list[onnx.NodeProto]()
    steps = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in constants
    }
    seen = set[str]()
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in steps and name in seen:
                again = onnx.NodeProto()
                again.CopyFrom(steps[name])
                again.output[0] = node.input[index] = f"{name}{_OWN}{node.output[0]}_{index}"
                again.name = again.output[0]
                nodes.append(again)
            seen.add(name)
        nodes.append(node)
    parted = len(nodes) > len(graph.node)
    if parted:
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)
    return parted


def _state_zero_points(graph: onnx.GraphProto, scales: Mapping[str, TensorProto]) -> bool:
    """Write the zero points of weights that are left out; whether there was one."""
    constants = _int8_constants(graph)
    found = [
        node
        for node in graph.node
        if node.op_type == "DequantizeLinear"
        and not all(node.input[2:3] or [""])
        and node.input[0] in constants
        and node.input[1] in scales
    ]
    for node in found:
        zeros = np.zeros(list(scales[node.input[1]].dims), np.int8)
        name = f"{node.output[0]}{_OWN}"
        graph.initializer.append(numpy_helper.from_array(zeros, name))
        node.input[:] = [*node.input[:2], name]
    return bool(found)


def _part_constants(graph: onnx.GraphProto) -> bool:
    """Give each reader of an int8 constant a copy of its own; whether there are two of one."""
    constants, seen, parted = _int8_constants(graph), set[str](), False
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name not in constants:
                continue
            if name in seen:
                own = graph.initializer.add()
                own.CopyFrom(constants[name])
                own.name = f"{name}{_OWN}{node.output[0]}_{index}"
                node.input[index] = own.name
                parted = True
            seen.add(name)
    return parted


@cache
def saturates() -> bool:
    """Whether this processor does, of which large products are the proof."""
    factor = 127
    constants = {
        "w": np.full((64, 1), factor, np.int8),
        "one": np.float32(1),
        "step": np.float32(factor * factor),
        "zero": np.uint8(0),
        "zero_of_weights": np.int8(0),
    }
    inputs = ["x", "one", "zero", "w", "one", "zero_of_weights", "step", "zero"]
    graph = helper.make_graph(
        [helper.make_node("QLinearMatMul", inputs, ["y"])],
        "products",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, (1, 64))],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, (1, 1))],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.full((1, 64), 2 * factor, np.uint8)})
    return bool(found.item() != 128)
