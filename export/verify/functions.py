"""How far the results of a network move by the errors of other functions and sums.

Runtimes approximate a function such as tanh to a unit in the last place, each with an error of its
own. A network may amplify that, as atanh of a tanh near 1 does; moving its inputs does not show it.
ONNX Runtime computes Elu and its like as exp(x) - 1, which is off by a unit in the last place of 1.
A sum one term after the other rounds at each, which PyTorch's sum of sums does not. XNNPACK begins
the sum of a product with its bias, in units of which it then rounds at every term; where the bias
is far above what is added to it and a normalization takes it off again, that is much of what is
left.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.data.samples import Sample
from edgeconv.export.graph_edit import known_array
from edgeconv.export.runtimes import IntermediateOutputs

_EPSILON = 2.0**-23
_APPROXIMATED = {
    *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cos", "Cosh", "Erf"),
    *("Exp", "Gelu", "Log", "LogSoftmax", "Mish", "Pow", "ReduceLogSumExp", "Sigmoid"),
    *("Sin", "Sinh", "Softmax", "Softplus", "Sqrt", "Tan", "Tanh"),
}

_PRODUCTS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_NORMALIZATIONS = {"InstanceNormalization", "LayerNormalization"}
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
        if node.domain not in ("", "com.microsoft"):
            continue
        added = _added(node)
        if added is None and node.op_type not in _APPROXIMATED | _SUMS | _NORMALIZATIONS:
            continue
        value = node.outputs[0]
        if value.dtype != ir.DataType.FLOAT or value.shape is None or not value.shape.is_static():
            continue
        drawn = _EPSILON * rng.uniform(-1, 1, value.shape.numpy())
        # The moved result takes the name, by which it may be an output.
        moved = ir.Value(name=value.name, shape=value.shape, type=value.type)
        value.name = f"{value.name}/exact"
        ir.convenience.replace_all_uses_with(value, moved, replace_graph_outputs=True)
        if node.op_type in _NORMALIZATIONS:
            steps, last = _shift(copy.graph, node, rng)
            steps.append(ir.Node("", "Add", [value, last], outputs=[moved]))
        elif added is not None:
            weight = _constant(copy.graph, f"{value.name}/moved_by", added * drawn)
            steps = [ir.Node("", "Add", [value, weight], outputs=[moved])]
        else:
            factor = _constant(copy.graph, f"{value.name}/moved_by", 1 + _units(node) * drawn)
            steps = [ir.Node("", "Mul", [value, factor], outputs=[moved])]
        copy.graph.insert_after(node, steps)
    return copy


def _constant(graph: ir.Graph, name: str, array: npt.NDArray[Any]) -> ir.Value:
    kept = array.astype(np.float32) if array.dtype.kind == "f" else array
    value = ir.Value(name=name, const_value=ir.tensor(kept, name=name))
    graph.register_initializer(value)
    return value


def _shift(
    graph: ir.Graph, node: ir.Node, rng: np.random.Generator
) -> tuple[list[ir.Node], ir.Value]:
    """By how much a normalization is off whose mean is off by rounding.

    It is the mean over the deviation times that.

    ONNX Runtime adds up one element after the other: 4096 that are nearly 0.06 come to 78 units.

    Returns:
        What computes the shift, and the shift.
    """
    x, scale = node.inputs[:2]
    value = node.outputs[0]
    assert x is not None
    assert scale is not None
    assert value.shape is not None
    shape = value.shape.numpy()
    first = node.attributes.get_int("axis", -1) if node.op_type == "LayerNormalization" else 2
    axes = [*range(first % len(shape), len(shape))]
    sizes = [1 if axis in axes else size for axis, size in enumerate(shape)]
    units = _growth(math.prod(shape) // max(1, math.prod(sizes)))
    steps: list[ir.Node] = []

    def step(operator: str, *inputs: ir.Value | None) -> ir.Value:
        steps.append(ir.Node("", operator, inputs))
        return steps[-1].outputs[0]

    name = str(value.name)
    over = _constant(graph, f"{name}/axes", np.array(axes, np.int64))
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    added = _constant(graph, f"{name}/epsilon", np.array(epsilon))
    drawn = _constant(graph, f"{name}/drawn", units * _EPSILON * rng.uniform(-1, 1, sizes))
    mean = step("ReduceMean", x, over)
    centered = step("Sub", x, mean)
    variance = step("ReduceMean", step("Mul", centered, centered), over)
    deviation = step("Sqrt", step("Add", variance, added))
    shift = step("Mul", step("Div", mean, deviation), drawn)
    if node.op_type == "InstanceNormalization":
        places = np.array([-1, *[1] * len(axes)], np.int64)
        scale = step("Reshape", scale, _constant(graph, f"{name}/places", places))
    return steps, step("Mul", shift, scale)


def _added(node: ir.Node) -> npt.NDArray[np.float64] | None:
    """What is added to a result, in units of EPSILON; None where it is multiplied instead."""
    if size := subtracted(node):
        return np.array(size)
    if node.op_type == "Add":
        product, bias = _biased_product(node)
    else:
        product, bias = node, node.inputs[2] if len(node.inputs) > 2 else None
    known = None if bias is None else known_array(bias)
    terms = _terms(product) if product is not None and product.op_type in _PRODUCTS else 0
    if known is None or not terms:
        return None
    if node.op_type in ("Conv", "ConvTranspose"):
        rank = len(node.outputs[0].shape or ())
        known = known.reshape(-1, *(1,) * (rank - 2))
    return _growth(terms) * np.abs(known * node.attributes.get_float("beta", 1.0))


def _biased_product(node: ir.Node) -> tuple[ir.Node | None, ir.Value | None]:
    """The MatMul whose result an Add reads, and what is added to it."""
    for value, other in itertools.permutations(node.inputs, 2):
        producer = None if value is None else value.producer()
        if producer is not None and producer.op_type == "MatMul":
            return producer, other
    return None, None


def _terms(product: ir.Node) -> int:
    """How many products each element of its result adds up; 0 where that is not known."""
    weights = product.inputs[1]
    if weights is None or weights.shape is None or not weights.shape.is_static():
        return 0
    shape = weights.shape.numpy()
    if product.op_type == "Conv":
        return math.prod(shape[1:])
    if product.op_type == "ConvTranspose":
        return math.prod(shape) // max(1, shape[1] * product.attributes.get_int("group", 1))
    if product.op_type == "Gemm" and product.attributes.get_int("transB", 0) == 1:
        return shape[1]
    return shape[max(0, len(shape) - 2)]


def _growth(terms: int) -> float:
    return max(1.0, math.sqrt(terms) / 2)


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
    return _growth(terms)
