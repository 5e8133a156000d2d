"""One TFLite graph for every batch, from two graphs of the same network at two batches.

All but sizes is equal in the two. A size that differs is open in the file: -1 in the signature of a
tensor and in the constant of a RESHAPE or SLICE, and read from the input where an operator needs
it as a number.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgeconv.errors import UnsupportedOperator
from edgeconv.export.tflite.graph import (
    STORED,
    Array,
    ChannelQuantization,
    Graph,
    Operator,
    Quantization,
    Tensor,
)

_REMEDY = "leave --dynamic-batch out and pass --batch, or pass only --format onnx"
_INT32 = np.dtype("int32")


def open_batch(graph: Graph, other: Graph) -> None:
    """Open the batch of ``graph``, in place.

    Args:
        graph: The network at some batch.
        other: The network at one sample more.

    Raises:
        UnsupportedOperator: They differ in more than sizes.
    """
    _Opening(graph, other).run()


class _Opening:
    def __init__(self, graph: Graph, other: Graph) -> None:
        self.graph, self.other = graph, other
        self.before: list[Operator] = []
        self.followed: dict[int, Tensor] = {}
        self._batch: Tensor | None = None

    def run(self) -> None:
        pairs = [*zip(self.graph.operators, self.other.operators, strict=False)]
        if len(self.graph.operators) != len(self.other.operators):
            raise _differs("the graph", "its number of operators")
        for operator, twin in pairs:
            self._operator(operator, twin)
        tensors = dict(zip(_tensors(self.graph), _tensors(self.other), strict=True))
        for operator, twin in pairs:
            self._constants(operator, twin)
        for tensor, same in tensors.items():
            if tensor.data is None:
                _open(tensor, same)
        self.graph.operators[:0] = self.before

    def _operator(self, operator: Operator, twin: Operator) -> None:
        """Compare all but constants."""
        name = _title(operator)
        if operator.name != twin.name:
            raise _differs(name, "the operator that it becomes")
        for own, others in ((operator.inputs, twin.inputs), (operator.outputs, twin.outputs)):
            if len(own) != len(others):
                raise _differs(name, "its number of operands")
            if not all(map(_alike, own, others)):
                raise _differs(name, "more than a size")
        sizes = {"newShape"} if operator.name == "RESHAPE" else set()
        options = {*operator.options, *twin.options} - sizes
        if any(operator.options.get(key) != twin.options.get(key) for key in options):
            raise _differs(name, "its options")

    def _constants(self, operator: Operator, twin: Operator) -> None:
        inputs = list(operator.inputs)
        for index, (tensor, same) in enumerate(zip(operator.inputs, twin.inputs, strict=True)):
            if tensor.data is None or _same_constant(tensor, same):
                continue
            found = self._sizes(operator, twin, index)
            if found is None:
                found = self._followed(operator, tensor, same)
            inputs[index] = found
        operator.inputs = inputs

    def _sizes(self, operator: Operator, twin: Operator, index: int) -> Tensor | None:
        """The constant of an operator that itself finds the size of an open dimension."""
        tensor, same = operator.inputs[index], twin.inputs[index]
        sizes, others = _elements(tensor), _elements(same)
        if sizes.shape != others.shape or sizes.ndim != 1:
            return None
        differing = np.flatnonzero(sizes != others)
        if len(differing) != 1:
            return None
        (place,) = differing
        x, more = operator.inputs[0], twin.inputs[0]
        if (operator.name, index) == ("RESHAPE", 1):
            opened = tuple(-1 if at == place else int(size) for at, size in enumerate(sizes))
            operator.options = {**operator.options, "newShape": opened}
        elif (operator.name, index) == ("SLICE", 2):
            begins = [_elements(each.inputs[1])[place] for each in (operator, twin)]
            whole = [begins[0] + sizes[place], begins[1] + others[place]]
            if begins[0] != begins[1] or whole != [x.shape[place], more.shape[place]]:
                return None
            opened = tuple(-1 if at == place else int(size) for at, size in enumerate(sizes))
        elif (operator.name, index) == ("STRIDED_SLICE", 2):
            if [sizes[place], others[place]] != [x.shape[place], more.shape[place]]:
                return None
            mask = int(operator.options.get("endMask", 0)) | 1 << int(place)  # type: ignore[arg-type]
            operator.options = {**operator.options, "endMask": mask}
            opened = tuple(map(int, sizes))
        else:
            return None
        return _constant(f"{tensor.name}/open", np.array(opened, tensor.dtype))

    def _followed(self, operator: Operator, tensor: Tensor, same: Tensor) -> Tensor:
        """A constant whose elements or size follow the batch, as the graph computes it."""
        if id(tensor) not in self.followed:
            array, other = _elements(tensor), _elements(same)
            if array.shape == other.shape and array.ndim == 1 and array.dtype == _INT32:
                found = self._shape(operator, array, other, tensor.name)
            else:
                found = self._rows(operator, tensor, same)
            self.followed[id(tensor)] = found
        return self.followed[id(tensor)]

    def _rows(self, operator: Operator, tensor: Tensor, same: Tensor) -> Tensor:
        """One row of a constant, repeated for every sample."""
        array, other = _elements(tensor), _elements(same)
        sizes = np.array(array.shape, _INT32), np.array(other.shape, _INT32)
        if array.ndim != other.ndim or np.sum(sizes[0] != sizes[1]) != 1:
            raise _differs(_title(operator), f"the constant {tensor.name}")
        (axis,) = np.flatnonzero(sizes[0] != sizes[1])
        row = np.ascontiguousarray(np.take(array, [0], axis))
        if not all(_same(np.broadcast_to(row, each.shape), each) for each in (array, other)):
            raise _differs(_title(operator), f"the constant {tensor.name}")
        held = Tensor(f"{tensor.name}/row", row.shape, tensor.dtype, row, tensor.quantization)
        shape = self._shape(operator, *sizes, tensor.name)
        result = Tensor(tensor.name, tensor.shape, tensor.dtype, None, tensor.quantization)
        _open(result, same)
        self.before.append(Operator("BROADCAST_TO", [held, shape], [result]))
        return result

    def _shape(self, operator: Operator, sizes: Array, others: Array, name: str) -> Tensor:
        """A vector of sizes, packed from the constant ones and from the batch of the input."""
        batch, more = self._batches()
        parts: list[Tensor] = []
        for at, (size, other) in enumerate(zip(sizes, others, strict=True)):
            if size == other:
                parts.append(_constant(f"{name}/size{at}", np.array(size, _INT32)))
            elif (size, other) == (batch, more):
                parts.append(self._read_batch())
            else:
                raise _differs(_title(operator), f"the sizes {name}")
        vector = Tensor(f"{name}/sizes", (len(parts),), _INT32)
        options = {"valuesCount": len(parts), "axis": 0}
        self.before.append(Operator("PACK", parts, [vector], options))
        return vector

    def _input(self) -> tuple[Tensor, Tensor]:
        pairs = zip(self.graph.inputs, self.other.inputs, strict=True)
        return next(pair for pair in pairs if pair[0].shape != pair[1].shape)

    def _batches(self) -> tuple[int, int]:
        first, other = self._input()
        return first.shape[0], other.shape[0]

    def _read_batch(self) -> Tensor:
        if self._batch is None:
            source = self._input()[0]
            shape = Tensor("batch/shape", (len(source.shape),), _INT32)
            self._batch = Tensor("batch/size", (), _INT32)
            numbers = [
                _constant(f"batch/{name}", np.array([number], _INT32))
                for name, number in (("begin", 0), ("end", 1), ("stride", 1))
            ]
            self.before += [
                Operator("SHAPE", [source], [shape], {"outType": STORED[_INT32]}),
                Operator("STRIDED_SLICE", [shape, *numbers], [self._batch], {"shrinkAxisMask": 1}),
            ]
        return self._batch


def _tensors(graph: Graph) -> Iterator[Tensor]:
    """Every tensor as often as it is used, in an order that two alike graphs share."""
    yield from graph.inputs
    for operator in graph.operators:
        yield from (*operator.inputs, *operator.outputs)
    yield from graph.outputs


def _open(tensor: Tensor, other: Tensor) -> None:
    """State the sizes that differ as open ones, and the shape for one sample."""
    if tensor.signature is None and tensor.shape != other.shape:
        pairs = [*zip(tensor.shape, other.shape, strict=True)]
        tensor.signature = tuple(size if size == more else -1 for size, more in pairs)
        tensor.shape = tuple(
            size if size == more else _alone(tensor, size, more) for size, more in pairs
        )


def _alone(tensor: Tensor, size: int, more: int) -> int:
    """The size at one sample."""
    each = more - size
    if size % each:
        raise _differs(tensor.name, "a size that is no multiple of the batch")
    return each


def _alike(tensor: Tensor, other: Tensor) -> bool:
    """Whether two tensors differ in sizes and elements at the most."""
    return (
        tensor.dtype == other.dtype
        and len(tensor.shape) == len(other.shape)
        and (tensor.data is None) == (other.data is None)
        and _same_quantization(tensor.quantization, other.quantization)
    )


def _same_quantization(
    first: Quantization | ChannelQuantization | None,
    second: Quantization | ChannelQuantization | None,
) -> bool:
    if isinstance(first, ChannelQuantization) and isinstance(second, ChannelQuantization):
        return first.axis == second.axis and np.array_equal(first.scales, second.scales)
    return first == second


def _elements(tensor: Tensor) -> Array:
    assert tensor.elements is not None
    return tensor.elements


def _same_constant(tensor: Tensor, other: Tensor) -> bool:
    return tensor.shape == other.shape and _same(_elements(tensor), _elements(other))


def _same(first: Array, second: Array) -> bool:
    if first is second:
        return True
    return np.array_equal(first, second, equal_nan=first.dtype.kind == "f")


def _constant(name: str, array: Array) -> Tensor:
    return Tensor(name, array.shape, array.dtype, array)


def _title(operator: Operator) -> str:
    return operator.source or operator.name


def _differs(where: str, what: str) -> UnsupportedOperator:
    return UnsupportedOperator(
        f"{where} cannot follow the batch in TFLite: {what} depends on it", hint=_REMEDY
    )
