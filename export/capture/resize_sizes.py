"""Resizes by factors that give another size in float64 than in float32, with their sizes stated.

ONNX's shape inference multiplies a size by its factor in float64, and ONNX Runtime in float32:
10 times 0.7 is 6 for the one and 7 for the other. What runs is right.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from edgeconv.errors import CaptureError, EdgeconvError, first_line
from edgeconv.export.graph_edit import Array
from edgeconv.export.shape_inference import with_shapes
from edgeconv.limits import TENSOR_BYTES

_ITEM_BYTES = 4  # of float32


def state_sizes(proto: onnx.ModelProto, path: Path) -> None:
    """Change the Resizes in the main graph whose size is ambiguous, in place; drop stated shapes.

    Stated sizes mean the factor size / size. Where that is the stated one, nothing else changes.

    Raises:
        CaptureError: It is not, for a Resize.
    """
    constants = _constants(proto.graph)
    pending = [
        node
        for node in proto.graph.node
        if node.op_type == "Resize" and len(node.input) == 3 and node.input[2] in constants
    ]
    while pending:
        shapes = _shapes(proto, path)
        # What follows an ambiguous one has no right shape before that is mended.
        node = next((each for each in pending if _mend(proto, each, constants, shapes, path)), None)
        if node is None:
            return
        pending = pending[pending.index(node) + 1 :]
        del proto.graph.value_info[:]
        for output in proto.graph.output:
            output.type.tensor_type.ClearField("shape")


def _mend(
    proto: onnx.ModelProto,
    node: onnx.NodeProto,
    constants: dict[str, onnx.TensorProto],
    shapes: dict[str, list[int]],
    path: Path,
) -> bool:
    """State the sizes of one Resize if it is ambiguous; returns whether it was."""
    factors = numpy_helper.to_array(constants[node.input[2]])
    shape = shapes.get(node.input[0])
    given = {item.name: item for item in node.attribute}
    _refuse_factors(factors, node, path)
    if shape is None or factors.dtype != np.float32:
        return False
    axes = given["axes"].ints if "axes" in given else range(len(shape))
    if (
        factors.size != len(axes)
        or factors.ndim == 0
        or not all(-len(shape) <= axis < len(shape) for axis in axes)
    ):
        return False  # what does not fit is refused by name later
    before = np.array([shape[axis] for axis in axes], np.float32)
    after = np.floor(before * factors)
    TENSOR_BYTES.check(
        int(np.prod(after.astype(object))) * _ITEM_BYTES,
        f"{path}: the result of {_name(node)} takes",
    )
    if np.array_equal(after, np.floor(before.astype(float) * factors.astype(float))):
        return False
    by_sizes: Array = np.divide(after, before, dtype=np.float32)
    if not np.array_equal(by_sizes, factors):
        raise CaptureError(
            f"{path}: {_name(node)} has a scale from which ONNX's shape "
            "inference and ONNX Runtime get different sizes",
            hint="state sizes in the place of scales",
        )
    name = f"{node.output[0]}_sizes"
    proto.graph.initializer.append(numpy_helper.from_array(after.astype(np.int64), name))
    node.input[2] = ""
    node.input.append(name)
    return True


def _refuse_factors(factors: Array, node: onnx.NodeProto, path: Path) -> None:
    """ONNX Runtime reads a table as a list, of which ONNX infers shapes of its own."""
    if factors.ndim > 1:
        raise CaptureError(
            f"{path}: {_name(node)} has scales of shape {list(factors.shape)}, and they are a list",
            hint="state one scale for each dimension, in a tensor of one dimension",
        )
    wrong = factors[~(np.isfinite(factors) & (factors > 0))]
    if wrong.size:
        raise CaptureError(
            f"{path}: {_name(node)} has a scale of {wrong.flat[0]}",
            hint="state scales above zero, or sizes in the place of scales",
        )


def _name(node: onnx.NodeProto) -> str:
    return f"{node.name or node.output[0]} (Resize)"


def _shapes(proto: onnx.ModelProto, path: Path) -> dict[str, list[int]]:
    """The shapes of the values that have a static one."""
    try:
        inferred = with_shapes(proto, path).graph
    except EdgeconvError:
        raise
    except Exception as error:  # onnx raises its own kinds
        raise CaptureError(
            f"{path}: shapes do not fit together: {first_line(error)}",
            hint="check the sizes with --input NAME:SHAPE",
        ) from error
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    found = {value.name: value.type.tensor_type.shape.dim for value in values}
    return {
        name: [dim.dim_value for dim in dims]
        for name, dims in found.items()
        if all(dim.HasField("dim_value") for dim in dims)
    }


def _constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for item in node.attribute:
            if node.op_type == "Constant" and item.name == "value":
                found[node.output[0]] = item.t
    return found
