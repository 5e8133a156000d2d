"""Preprocessing inside the files: from the bytes of a picture to what a network takes.

The operators that normalize cost something, so the graph takes them in where it can. With the
weights w of a first convolution, the mean m and the deviation d of each channel, in bytes,

    sum w (x - m) / d  =  sum (w k / d) ((x - z) / k)  +  sum w (z - m) / d

holds for any z and k. The last term is a bias, and at a padded border it would be wrong: the
network pads with zeros, which are pixels of the value m, and the file would pad with z. So a
convolution that pads takes the mean in only where z is m. Elsewhere a convolution of 1×1 in front
normalizes; on a Cortex-A72, at 224×224, it takes 2.2 million instructions, and a Sub and a Mul
take 2.8.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common

from edgeconv.bundle import Layout, TensorInfo
from edgeconv.export.graph_edit import GraphEditor, constant_array, describe, only_consumer
from edgeconv.preprocessing import Color, Preprocessing

Array = npt.NDArray[np.float32]

BYTE = 255.0
OUTSIDE = "edgeconv.outside"
"""Under this key a node is marked that converts a file's input and is no part of the network."""

# The zero point is an integer and the mean may lie between two: then a padded border is off by no
# more than any byte that is rounded.
_ROUNDING = 0.5
_FIRST_TO_LAST = (0, 3, 1, 2)
_FROM_THE_END = -(2**63)


@dataclass(frozen=True)
class Normalization:
    """From the bytes of pictures, as float32 or integers, to the input of a graph.

    Attributes:
        mean: In bytes, for each channel of the graph.
        deviation: Likewise.
        reversed: Whether the graph takes BGR, where a picture is RGB.
        moved: Whether a picture has its channels last, and the graph has them second.
        axis: The dimension of the graph's input that counts the channels.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    reversed: bool
    moved: bool
    axis: int

    @classmethod
    def of(
        cls, preprocessing: Preprocessing, info: TensorInfo, layout: Layout | None
    ) -> Normalization:
        """The normalization of a network.

        Args:
            preprocessing: Has a mean and a deviation for each channel.
            info: The network's input.
            layout: That of the picture; None for the network's own.
        """
        return cls(
            mean=tuple(BYTE * each for each in preprocessing.mean),
            deviation=tuple(BYTE * each for each in preprocessing.std),
            reversed=preprocessing.color is Color.BGR,
            moved=layout is Layout.NHWC and info.layout is not Layout.NHWC,
            axis=3 if info.layout is Layout.NHWC else 1,
        )

    @property
    def channels(self) -> int:
        """The number of channels."""
        return len(self.mean)

    def normalized(self, pictures: npt.NDArray[np.generic]) -> Array:
        """What the graph takes for ``pictures``, computed as the preprocessing states it."""
        x = np.moveaxis(pictures, -1, 1) if self.moved else pictures
        x = np.flip(x, self.axis) if self.reversed else x
        mean, std = (self._along(np.array(each) / BYTE) for each in (self.mean, self.deviation))
        return np.ascontiguousarray((x.astype(np.float32) / np.float32(BYTE) - mean) / std)

    def in_front(self, model: ir.Model) -> ir.Model:
        """A copy of a graph with one input that takes pictures; integers are only moved."""
        model = model.clone()
        graph, editor = model.graph, GraphEditor(model.graph)
        inner = graph.inputs[0]
        name = str(inner.name)
        inner.name = editor.free_name(f"{name}_network")
        picture = ir.val(name)
        describe(picture, inner)
        nodes: list[ir.Node] = []

        def then(operator: str, *operands: ir.Value, **attributes: tuple[int, ...]) -> None:
            x = nodes[-1].outputs[0] if nodes else picture
            label = editor.free_name(f"{name}_{operator.lower()}")
            nodes.append(ir.node(operator, [x, *operands], attributes=attributes, name=label))
            nodes[-1].outputs[0].name = label
            nodes[-1].meta[OUTSIDE] = True
            describe(nodes[-1].outputs[0], inner)

        if self.moved:
            assert inner.shape is not None
            batch, channels, height, width = inner.shape
            picture.shape = ir.Shape((batch, height, width, channels))
            then("Transpose", perm=_FIRST_TO_LAST)
        if self.reversed:
            sizes = ([-1], [_FROM_THE_END], [self.axis], [-1])
            labels = ("starts", "ends", "axes", "steps")
            then(
                "Slice",
                *(
                    editor.constant(f"{name}_{label}", np.array(size, np.int64))
                    for label, size in zip(labels, sizes, strict=True)
                ),
            )
        if inner.dtype is ir.DataType.FLOAT and {*self.mean} != {0.0}:
            then("Sub", editor.constant(f"{name}_mean", self._along(np.array(self.mean))))
        if inner.dtype is ir.DataType.FLOAT and {*self.deviation} != {1.0}:
            factor = self._along(1 / np.array(self.deviation))
            then("Mul", editor.constant(f"{name}_factor", factor))
        if not nodes:
            inner.name = name
            return model
        ir.convenience.replace_all_uses_with(inner, nodes[-1].outputs[0])
        graph.inputs[0] = picture
        graph.insert_before(next(iter(graph)), nodes)
        return model

    def _along(self, values: npt.NDArray[np.float64]) -> Array:
        """A constant with a value for each channel, against the dimensions of the input."""
        return values.astype(np.float32).reshape([-1, *[1] * (3 - self.axis)])


@dataclass(frozen=True)
class Entrance:
    """A graph that took in what it could of a normalization.

    Attributes:
        graph: The graph, on the values that ``before`` leaves of bytes.
        before: What still has to be done to a picture.
        zero_point: The byte that is zero to the graph.
        scale: The size of one byte to the graph.
    """

    graph: ir.Model
    before: Normalization
    zero_point: int
    scale: float

    @property
    def whole(self) -> ir.Model:
        """The graph that takes pictures."""
        return self.before.in_front(self.graph)


@dataclass(frozen=True)
class OnPictures:
    """A network on normalized values, and what normalizes pictures for it."""

    network: ir.Model
    how: Normalization

    def enter(self, *, integer: bool, integer_io: bool = False) -> Entrance:
        """The network with the normalization in it; see :func:`enter`."""
        return enter(self.network, self.how, integer=integer, integer_io=integer_io)


def enter(model: ir.Model, how: Normalization, *, integer: bool, integer_io: bool) -> Entrance:
    """Take a normalization into a copy of a float graph with one image input.

    Args:
        model: The graph, on normalized values.
        how: The normalization.
        integer: Whether the input of the copy becomes integers, whose zero point need not be 0.
        integer_io: Whether the file takes these integers; otherwise it computes them from reals.
    """
    model = model.clone()
    entry = _entry(model.graph.inputs[0], how.axis)
    nothing = replace(how, mean=(0.0,) * how.channels, deviation=(1.0,) * how.channels)
    if entry is None:
        return Entrance(how.in_front(model), replace(nothing, reversed=False, moved=False), 0, 1.0)
    editor, conv = GraphEditor(model.graph), only_consumer(entry, "Conv")
    nearest = int(np.clip(np.rint(np.mean(how.mean)), 0, BYTE)) if integer else 0
    close = all(abs(mean - nearest) <= (_ROUNDING if integer else 0) for mean in how.mean)
    if conv is None or not _is_plain(conv, how.channels) or (_pads(conv) and not close):
        _put_in_front(editor, entry, how)
        return Entrance(model, replace(nothing, reversed=False), 0, 1.0)
    # The input's own scale and zero point are the normalization then, for whoever reads them.
    alike = integer_io and close and len({*how.deviation}) == 1
    zero = nearest if _pads(conv) or alike else 0
    step = how.deviation[0] if alike else 1.0
    _take_in(editor, conv, how, zero, step)
    common.RemoveUnusedNodesPass()(model)  # nothing reads the weights on normalized values now
    left = replace(
        how,
        mean=(float(zero),) * how.channels,
        deviation=(step,) * how.channels,
        reversed=False,
    )
    return Entrance(model, left, zero, 1 / step)


def _entry(value: ir.Value, axis: int) -> ir.Value | None:
    """The input with its channels second, if the graph reads it as such."""
    if axis == 1:
        return value
    node = only_consumer(value, "Transpose")
    perm = None if node is None else node.attributes.get("perm")
    found = node is not None and perm is not None and tuple(perm.as_ints()) == _FIRST_TO_LAST
    return node.outputs[0] if node is not None and found else None


def _is_plain(conv: ir.Node, channels: int) -> bool:
    """Whether each output of a convolution reads all channels, with weights that are known."""
    known = all(value is None or value.const_value is not None for value in conv.inputs[1:])
    return known and constant_array(conv.inputs[1]).shape[1] == channels and _groups(conv) == 1


def _groups(conv: ir.Node) -> int:
    return conv.attributes.get_int("group", 1)


def _pads(conv: ir.Node) -> bool:
    if conv.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return True
    return any(conv.attributes.get_ints("pads", ()))


def _take_in(
    editor: GraphEditor, conv: ir.Node, how: Normalization, zero: int, step: float
) -> None:
    """Give a convolution on normalized values the weights and the bias for (x - zero) / step."""
    weights = constant_array(conv.inputs[1])
    mean, deviation = (
        np.array(each).reshape(1, -1, *[1] * (weights.ndim - 2))
        for each in (how.mean, how.deviation)
    )
    exact = weights.astype(np.float64) / deviation
    bias = (exact * (zero - mean)).sum(axis=tuple(range(1, weights.ndim)))
    inputs = [*conv.inputs, None][:3]
    if inputs[2] is not None:
        bias += constant_array(inputs[2])
    scaled = np.flip(exact, 1) if how.reversed else exact
    names = [None if value is None else value.name for value in inputs[1:]]
    arrays = [np.asarray(array, np.float32) for array in (scaled * step, bias)]
    for index, (name, array) in enumerate(zip(names, arrays, strict=True), start=1):
        made = editor.constant(name or f"{conv.outputs[0].name}_bias", array)
        if index == len(conv.inputs):
            conv.resize_inputs(index + 1)
        conv.replace_input_with(index, made)


def _put_in_front(editor: GraphEditor, entry: ir.Value, how: Normalization) -> None:
    """Write a convolution of 1×1 that normalizes."""
    matrix = np.diag(1 / np.array(how.deviation))
    matrix = np.flip(matrix, 1) if how.reversed else matrix
    bias = -np.array(how.mean) / np.array(how.deviation)
    name = editor.free_name(f"{entry.name}_normalized")
    operands = [
        editor.constant(f"{name}_{part}", np.asarray(array, np.float32))
        for part, array in (("weight", matrix[:, :, None, None]), ("bias", bias))
    ]
    readers = list(entry.uses())
    conv = ir.node("Conv", [entry, *operands], attributes={"kernel_shape": (1, 1)}, name=name)
    conv.outputs[0].name = name
    describe(conv.outputs[0], entry)
    producer = entry.producer()
    if producer is None:
        editor.graph.insert_before(next(iter(editor.graph)), conv)
    else:
        editor.graph.insert_after(producer, conv)
    for node, index in readers:
        node.replace_input_with(index, conv.outputs[0])
