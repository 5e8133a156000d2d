"""How fast an operator could run on a known board.

It runs no faster than its arithmetic at the peak of the cores, and no faster than its tensors move
at the bandwidth of the memory (Williams, Waterman and Patterson, "Roofline", 2009,
doi:10.1145/1498765.1498785).

Tensors count as read or written once. Those that are still in a cache move faster than that, so an
operator can exceed the roof of the memory, never that of the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import Enum

from edgeconv.bench.profile.roofline_boards import Board
from edgeconv.device.messages import Operator, Tensor
from edgeconv.versioned import Record

# Where the weights stand among an operator's inputs.
WEIGHTS = {
    **dict.fromkeys(("Conv", "FusedConv", "NhwcFusedConv", "ConvInteger"), 1),
    "QLinearConv": 3,
}
# Axes of the weights that a result of these sums over: [out, height, width, in], [1, height, width,
# out] and [out, in].
TFLITE = {"CONV_2D": (1, 4), "DEPTHWISE_CONV_2D": (1, 3), "FULLY_CONNECTED": (1, 2)}
# Products that sum over the last axis of their first input, and where their second one stands.
PRODUCTS = {
    **dict.fromkeys(("MatMul", "FusedMatMul", "Gemm", "FusedGemm"), 1),
    **dict.fromkeys(("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"), 1),
    **dict.fromkeys(("QLinearMatMul", "QGemm"), 3),
}
EIGHT_BITS = ("int8", "uint8")
BYTES = {
    **dict.fromkeys(("bool", "int8", "uint8"), 1),
    **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 2),
    **dict.fromkeys(("int32", "uint32", "float32"), 4),
    **dict.fromkeys(("int64", "uint64", "float64"), 8),
}


class Arithmetic(str, Enum):
    """What kind of numbers an operator multiplies."""

    FLOAT32 = "float32"
    INT8 = "int8"
    INT8_DEPTHWISE = "int8 depthwise"


class Limit(str, Enum):
    """What keeps an operator from running faster than its roof."""

    COMPUTE = "compute"
    MEMORY = "memory"


class Roof(Record):
    """The least time in ns that a board needs for an operator, and what bounds it."""

    ns: float
    limit: Limit


class Peaks(Record):
    """What a board can do at most, as it ran.

    ``macs_per_ns`` are multiply-accumulates per nanosecond of all its cores in use, for the kinds
    whose peaks are known; ``bytes_per_ns`` goes from and to its memory (None: not known).
    """

    board: str
    cores: int
    hertz: float
    macs_per_ns: dict[Arithmetic, float]
    bytes_per_ns: float | None

    @classmethod
    def of(cls, board: Board, hertz: float, threads: int) -> Peaks:
        """Scale a board's peaks to a frequency and threads; only as many threads as cores count."""
        cores = min(threads, board.cores)
        cycles = hertz / 1e9 * cores
        each = {
            Arithmetic.FLOAT32: board.core.float32,
            Arithmetic.INT8: board.core.int8,
            Arithmetic.INT8_DEPTHWISE: board.core.int8_depthwise,
        }
        moved = board.one_core_bandwidth if cores == 1 else board.all_cores_bandwidth
        return cls(
            board=board.model,
            cores=cores,
            hertz=hertz,
            macs_per_ns={kind: count * cycles for kind, count in each.items() if count},
            bytes_per_ns=None if moved is None else moved / 1e9,
        )

    def roof(self, operator: Operator) -> Roof | None:
        """The roof of an operator; None where neither bound is known."""
        count, kind, size = macs(operator), arithmetic(operator), moved_bytes(operator)
        roofs = []
        if count and kind in self.macs_per_ns:
            roofs.append(Roof(ns=count / self.macs_per_ns[kind], limit=Limit.COMPUTE))
        if size and self.bytes_per_ns:
            roofs.append(Roof(ns=size / self.bytes_per_ns, limit=Limit.MEMORY))
        return max(roofs, key=lambda roof: roof.ns, default=None)


def macs(operator: Operator) -> int | None:
    """Multiply-accumulates of a convolution or a product; None for other operators.

    They count as they run, with the channels that the runtime pads.
    """
    shapes = [tensor.shape for tensor in operator.inputs]
    results = math.prod(operator.outputs[0].shape) if operator.outputs else 0
    kind = operator.operator
    if kind in WEIGHTS and len(shapes) > WEIGHTS[kind]:
        # Weights are [output channels, input channels of a group, height, width].
        return results * math.prod(shapes[WEIGHTS[kind]][1:])
    if kind in TFLITE and len(shapes) > 1 and shapes[1]:
        first, last = TFLITE[kind]
        return results * math.prod(shapes[1][first:last])
    if kind in PRODUCTS and shapes and shapes[0]:
        return results * shapes[0][-1]
    return None


def arithmetic(operator: Operator) -> Arithmetic | None:
    """The arithmetic of an operator's products; None for types without a known peak.

    Float activations and int8 weights are multiplied as int8: that is what dynamic range means.
    """
    activations, weights = _factors(operator)
    if activations is None or weights is None:
        return None
    if weights.dtype in EIGHT_BITS and activations.dtype in (*EIGHT_BITS, "float32"):
        return Arithmetic.INT8_DEPTHWISE if is_depthwise(operator) else Arithmetic.INT8
    both_float = activations.dtype == weights.dtype == "float32"
    return Arithmetic.FLOAT32 if both_float else None


def is_depthwise(operator: Operator) -> bool:
    """Whether it is a depthwise convolution, which does not mix channels."""
    activations, weights = _factors(operator)
    if operator.operator not in WEIGHTS or activations is None or weights is None:
        return operator.operator == "DEPTHWISE_CONV_2D"
    # The channels may stand first or last.
    return weights.shape[1:2] == (1,) and weights.shape[0] in activations.shape[1:]


def _factors(operator: Operator) -> tuple[Tensor | None, Tensor | None]:
    """Activations and weights."""
    place = WEIGHTS.get(operator.operator, PRODUCTS.get(operator.operator, 1))
    if len(operator.inputs) <= place:
        return None, None
    return operator.inputs[0], operator.inputs[place]


def moved_bytes(operator: Operator) -> int | None:
    """Bytes of all that goes in and out, weights too; None where a type's size is not known."""
    return _bytes([*operator.inputs, *operator.outputs])


def _bytes(tensors: Iterable[Tensor]) -> int | None:
    total = 0
    for tensor in tensors:
        elements = math.prod(tensor.shape)
        if elements and tensor.dtype not in BYTES:
            return None
        total += elements and elements * BYTES[tensor.dtype]
    return total
