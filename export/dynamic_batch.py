"""One graph for every batch size.

A network is traced at a batch of :data:`TRACED`, and its graph opened
(:mod:`edgeconv.export.open_batch`): it computes what it did, and nothing in it holds that batch any
more. :func:`at_batch` and :func:`with_open_batch` are copies of it for another batch, and for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common

from edgeconv.bundle import TensorInfo
from edgeconv.errors import UnsupportedOperator, UsageError
from edgeconv.export.graph_edit import known_array

TRACED = 2
"""At a batch of 1, PyTorch and the passes drop dimensions that other batches need."""
BATCH = "batch"
"""The name of the symbolic dimension."""

OTHER = 3
"""A batch at which the sizes are compared with those at TRACED."""

_OTHERWISE = "or leave --dynamic-batch out and pass --batch"
_REMEDY = f"take the size from the input there, {_OTHERWISE}"

Shape = tuple[int, ...]


def with_batch(inputs: Sequence[TensorInfo], batch: int) -> tuple[TensorInfo, ...]:
    """The inputs at a batch.

    Those whose first dimension is that of the first input have the batch there; others stay.

    Raises:
        UsageError: No input has a batch, or one has the size TRACED that is no batch.
    """
    first = inputs[0].shape[:1] if inputs else ()
    if not first:
        raise UsageError(
            "--dynamic-batch needs a first input that has the batch as its first dimension",
            hint="leave --dynamic-batch out",
        )
    for info in inputs:
        if info.shape[:1] == (TRACED,) != first:
            raise UsageError(
                f"--dynamic-batch traces a batch of {TRACED}, and the input {info.name!r}, which "
                "has no batch, has that size first",
                hint="give all inputs the batch, or leave --dynamic-batch out",
            )
    return tuple(
        info.model_copy(update={"shape": (batch, *info.shape[1:])})
        if info.shape[:1] == first
        else info
        for info in inputs
    )


def other_dimension(inputs: Sequence[TensorInfo]) -> str:
    """What to do about a network that runs at a batch of 1, and not at another."""
    names = [info.name for info in inputs if info.shape[:1] == inputs[0].shape[:1]]
    taken = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return (
        f"it runs at a batch of 1: --dynamic-batch takes the first dimension of {taken} as the "
        "batch. Let forward take what has the batch in another one, as the state of a GRU has, "
        "with the batch first, and transpose it there; or leave --dynamic-batch out and pass "
        "--batch"
    )


def rows(array: npt.NDArray[Any], info: TensorInfo) -> npt.NDArray[Any]:
    """The array with as many rows as ``info`` says: its own, from the first one on."""
    if array.shape == info.shape:
        return array
    return np.take(array, np.arange(info.shape[0]) % len(array), axis=0)


def at_batch(model: ir.Model, batch: int) -> ir.Model:
    """A copy of an opened graph with static shapes at another batch.

    Raises:
        UnsupportedOperator: The shape of a result does not follow from the inputs.
    """
    copy = model.clone()
    for value in batched(copy.graph):
        value.shape = ir.Shape((batch, *static(value)[1:]))
    known = {value.name for value in copy.graph.inputs} | set(copy.graph.initializers)
    for node in copy.graph.all_nodes():
        for value in node.outputs:
            if value.name not in known:
                value.shape = None
    common.ShapeInferencePass(check_type=True, strict_mode=True, data_prop=True)(copy)
    for node in copy.graph:
        for value in node.outputs:
            if value.name and (value.shape is None or not value.shape.is_static()):
                raise refused(node, "the shape of its result does not follow from the batch")
    return copy


def with_open_batch(model: ir.Model) -> ir.Model:
    """A copy of an opened graph whose batch is a dimension of the name :data:`BATCH`."""
    copy, other = model.clone(), at_batch(model, OTHER)
    for value, twin in zip(_values(copy.graph), _values(other.graph), strict=True):
        if value.shape is not None and value.shape.is_static():
            value.shape = ir.Shape(map(_size, value.shape.numpy(), static(twin)))
    return copy


def _size(traced: int, other: int) -> int | str | None:
    """A size from those at two batches; None for one that is no multiple of the batch."""
    if traced == other:
        return traced
    times, rest = divmod(traced, TRACED)
    if rest or times * OTHER != other:
        return None
    return BATCH if times == 1 else f"{times}*{BATCH}"


def _values(graph: ir.Graph) -> list[ir.Value]:
    return [*graph.inputs, *(value for node in graph for value in node.outputs)]


def batched(graph: ir.Graph) -> list[ir.Value]:
    """The inputs that have the traced batch."""
    return [value for value in graph.inputs if static(value)[:1] == (TRACED,)]


def static(value: ir.Value) -> Shape:
    """The shape of a value that has one."""
    assert value.shape is not None
    return tuple(value.shape.numpy())


def refused(node: ir.Node, why: str, remedy: str = _REMEDY) -> UnsupportedOperator:
    """The error for an operator that holds the batch."""
    return UnsupportedOperator(
        f"{node.name} ({node.op_type}) does not follow the batch: {why}", hint=remedy
    )


def refuse_bags(node: ir.Node) -> None:
    """Refuse an operator that reads which embedding is in which bag, as a constant.

    PyTorch flattens the indices of an EmbeddingBag and traces the bags as constants.

    Raises:
        UnsupportedOperator: It does.
    """
    arrays = (known_array(value) for value in node.inputs if value is not None)
    if any(array is not None and _are_bags(array) for array in arrays):
        raise refused(
            node,
            "which embedding is in which bag is a constant, as of a torch.nn.EmbeddingBag",
            "look the embeddings up with torch.nn.functional.embedding(indices, bag.weight), where "
            "they keep the batch, and take their .mean(1), .sum(1) or .amax(1) in place of the "
            f"bag, {_OTHERWISE}",
        )


def _are_bags(array: npt.NDArray[Any]) -> bool:
    """Whether an array has a row of zeros and ones for each sample, and one for each column."""
    bags = array.reshape(array.shape[:2]) if array.shape[2:] in ((), (1,)) else array
    if bags.ndim != 2 or len(bags) != TRACED or bags.shape[1] <= TRACED:
        return False
    zeros_and_ones = ((bags == 0) | (bags == 1)).all()
    return bool(zeros_and_ones and (bags.sum(axis=0) == 1).all())
