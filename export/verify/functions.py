"""How far the results of a network move by the errors of other functions and sums.

Runtimes approximate a function such as tanh to a unit in the last place, each with an error of its
own. A network may amplify that, as atanh of a tanh near 1 does; moving its inputs does not show it.
ONNX Runtime computes Elu and its like as exp(x) - 1, which is off by a unit in the last place of 1.
A sum one term after the other rounds at each, which PyTorch's sum of sums does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.data.samples import Sample
from edgeconv.export.runtimes import IntermediateOutputs

_EPSILON = 2.0**-23
_APPROXIMATED = {
    *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cos", "Cosh", "Erf"),
    *("Exp", "Gelu", "Log", "LogSoftmax", "Mish", "Pow", "ReduceLogSumExp", "Sigmoid"),
    *("Sin", "Sinh", "Softmax", "Softplus", "Sqrt", "Tan", "Tanh"),
}

_SUMS = {"AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum"}


def subtracted(node: ir.Node) -> float:
    """What a kernel subtracts from an exponential at inputs below zero; 0 for other operators."""
    number = node.attributes.get_float
    if node.op_type in ("Elu", "Celu"):
        return number("alpha", 1.0)
    if node.op_type == "Selu":
        return number("alpha", 1.67326) * number("gamma", 1.0507)
    return 0.0


def moves_by_functions(
    model: ir.Model, samples: Sequence[Sample], seed: int = 0
) -> list[list[npt.NDArray[Any]]]:
    """What the errors of another runtime's functions and sums change; see :func:`_units`.

    Both runs are of ``model`` itself: what is wrong in it is no part of the difference.

    Returns:
        For each sample the differences of the outputs, which are zero where one is not finite.
    """
    names = [str(value.name) for value in model.graph.outputs]
    plain, moved = (IntermediateOutputs(each, names) for each in (model, _moved(model, seed)))
    return [
        [_difference(*pair) for pair in zip(plain.run(sample), moved.run(sample), strict=True)]
        for sample in samples
    ]


def _difference(plain: npt.NDArray[Any], moved: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    if plain.shape != moved.shape:
        return np.zeros(plain.shape)
    with np.errstate(invalid="ignore"):
        difference = moved.astype(np.float64) - plain.astype(np.float64)
    return np.where(np.isfinite(difference), difference, 0.0)


def _moved(model: ir.Model, seed: int) -> ir.Model:
    """A copy of ``model`` with the errors of another runtime behind functions and sums."""
    copy, rng = model.clone(), np.random.default_rng(seed)
    for node in list(copy.graph):
        size = subtracted(node)
        known = node.op_type in _APPROXIMATED | _SUMS or size
        if not known or node.domain not in ("", "com.microsoft"):
            continue
        (value,) = node.outputs
        if value.dtype != ir.DataType.FLOAT or value.shape is None or not value.shape.is_static():
            continue
        drawn = _EPSILON * rng.uniform(-1, 1, value.shape.numpy())
        operator, array = ("Add", size * drawn) if size else ("Mul", 1 + _units(node) * drawn)
        tensor = ir.tensor(array.astype(np.float32), name=f"{value.name}/moved_by")
        weight = ir.Value(name=tensor.name, const_value=tensor)
        copy.graph.register_initializer(weight)
        # The moved result takes the name, by which it may be an output.
        moved = ir.Value(name=value.name, shape=value.shape, type=value.type)
        value.name = f"{value.name}/exact"
        ir.convenience.replace_all_uses_with(value, moved, replace_graph_outputs=True)
        copy.graph.insert_after(node, ir.Node("", operator, [value, weight], outputs=[moved]))
    return copy


def _units(node: ir.Node) -> float:
    """How many units in its last place a result may be off.

    For n terms it is sqrt(n) / 2, as of random signs. Terms that are all alike may come to more:
    900 of them to 24 units.
    """
    given = node.inputs[0].shape if node.inputs[0] is not None else None
    result = node.outputs[0].shape
    if node.op_type not in _SUMS or given is None or result is None or not given.is_static():
        return 1.0
    terms = math.prod(node.attributes.get_ints("kernel_shape", ()))
    if node.op_type != "AveragePool":
        terms = math.prod(given.numpy()) // max(1, math.prod(result.numpy()))
    return max(1.0, math.sqrt(terms) / 2)
