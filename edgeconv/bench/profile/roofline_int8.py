"""Why the operators of an int8 file are not faster than those of the float file beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath

from edgeconv.bench.profile.match_operators import counterparts
from edgeconv.bench.profile.records import ProfiledModel, ProfiledOperator
from edgeconv.bench.profile.roofline import EIGHT_BITS, Limit, is_depthwise
from edgeconv.bench.profile.roofline_boards import board_called
from edgeconv.versioned import Record

TO_FLOAT = ("DEQUANTIZE", "DequantizeLinear")
TO_CODES = ("QUANTIZE", "QuantizeLinear")
FLOATS = ("float16", "float32")
NOT_FLOAT32 = ("int8", "uint8", "int16", "float16")  # types that a pure float32 file does not have
SAME_NETWORK = 0.5  # of the operators have a counterpart, or it is another network
NEAR_ROOF = 0.5  # of it, or the memory is not what an operator waits for
MOST = 5  # operators to explain
LEAST_SHARE = 0.01  # of the file's time


class Reason(str, Enum):
    """Why an operator is not faster in int8."""

    FLOAT = "float"  # it runs in float, between conversions
    NOT_DELEGATED = "not delegated"  # XNNPACK leaves it to TFLite's own kernel
    MEMORY = "memory"  # its tensors move as fast as the memory allows
    NO_DOT_PRODUCT = "no dot product"  # the core has no instruction for it
    DEPTHWISE = "depthwise"  # it has no dot products to compute
    UNKNOWN = "unknown"


class NotFaster(Record):
    """An operator of the int8 file, with the conversions around it, and its float counterpart."""

    name: str
    operator: str
    outputs: tuple[int, ...]
    ns: int
    float_ns: int
    reason: Reason


class Int8AgainstFloat(Record):
    """An int8 and a float file of one network.

    Times are nanoseconds. ``conversions_ns`` counts all conversions between float and int8, of
    which the float file has none. ``not_faster`` has the slowest first.
    """

    int8_file: str
    float_file: str
    int8_ns: int
    float_ns: int
    conversions_ns: int
    not_faster: tuple[NotFaster, ...]


@dataclass(frozen=True)
class Group:
    """An operator and, if it runs in float, the conversions right before and after it.

    Its time is the sum of ``readings`` readings of the clock.
    """

    operator: ProfiledOperator
    ns: int
    readings: int
    in_float: bool


def int8_against_float(models: Sequence[ProfiledModel]) -> tuple[Int8AgainstFloat, ...]:
    """Every int8 file against the float file of the same format that is most like it."""
    found = []
    for model in models:
        if not _has_codes(model):
            continue
        others = [
            other for other in models if _is_float32(other) and _suffix(other) == _suffix(model)
        ]
        pairs = max((_paired(model, other) for other in others), key=len, default=[])
        groups = len(_groups(model))
        if pairs and len(pairs) >= SAME_NETWORK * groups:
            found.append(_compare(model, pairs[0].other, pairs))
    return tuple(found)


@dataclass(frozen=True)
class Pair:
    """An operator of the int8 file and the operator that it corresponds to in the float file."""

    int8: Group
    float32: ProfiledOperator
    other: ProfiledModel


def _paired(model: ProfiledModel, other: ProfiledModel) -> list[Pair]:
    groups, floats = _groups(model), other.operators
    found = counterparts([group.operator for group in groups], floats)
    return [Pair(groups[a], floats[b], other) for a, b in found]


def _compare(model: ProfiledModel, other: ProfiledModel, pairs: Sequence[Pair]) -> Int8AgainstFloat:
    total = _time(model.operators)
    tick = max(model.tick_ns, other.tick_ns)
    slow = [
        pair
        for pair in pairs
        # A difference below one tick per reading does not show which is faster.
        if pair.int8.ns - pair.float32.ns > tick * pair.int8.readings
        and pair.int8.ns >= LEAST_SHARE * total
        and pair.float32.ns
    ]
    slow.sort(key=lambda pair: -pair.int8.ns)
    return Int8AgainstFloat(
        int8_file=model.file.name,
        float_file=other.file.name,
        int8_ns=total,
        float_ns=_time(other.operators),
        conversions_ns=_time(
            operator for operator in model.operators if operator.operator in TO_FLOAT + TO_CODES
        ),
        not_faster=tuple(
            NotFaster(
                name=pair.int8.operator.name,
                operator=pair.int8.operator.operator,
                outputs=pair.int8.operator.outputs[0].shape,
                ns=pair.int8.ns,
                float_ns=pair.float32.ns,
                reason=_reason(pair.int8, model),
            )
            for pair in slow[:MOST]
        ),
    )


def _reason(group: Group, model: ProfiledModel) -> Reason:
    operator, board = group.operator, board_called(model.machine.board)
    if group.in_float:
        return Reason.FLOAT
    if operator.delegated is False:
        return Reason.NOT_DELEGATED
    share = operator.share_of_roof
    if operator.roof and operator.roof.limit is Limit.MEMORY and share and NEAR_ROOF <= share <= 1:
        return Reason.MEMORY
    if operator.macs and board is not None and not board.core.dot_product:
        return Reason.NO_DOT_PRODUCT
    return Reason.DEPTHWISE if is_depthwise(operator) else Reason.UNKNOWN


def _groups(model: ProfiledModel) -> list[Group]:
    """The operators but for the conversions, in order."""
    operators = model.operators
    groups = []
    for index, operator in enumerate(operators):
        if operator.operator in TO_FLOAT + TO_CODES:
            continue
        in_float = _has_codes(model) and _computes_in_float(operator)
        parts = [operator]
        if in_float:
            parts += _until(reversed(operators[:index]), TO_FLOAT)
            parts += _until(operators[index + 1 :], TO_CODES)
        groups.append(Group(operator, _time(parts), len(parts), in_float))
    return groups


def _until(operators: Iterable[ProfiledOperator], kinds: tuple[str, ...]) -> list[ProfiledOperator]:
    """The first ones that are of these kinds."""
    found = []
    for operator in operators:
        if operator.operator not in kinds:
            break
        found.append(operator)
    return found


def _types(operator: ProfiledOperator) -> set[str]:
    """The types of the activations: of the first input and the first output."""
    return {tensor.dtype for tensor in (*operator.inputs[:1], *operator.outputs[:1])}


def _computes_in_float(operator: ProfiledOperator) -> bool:
    types = _types(operator)
    return not types.isdisjoint(FLOATS) and types.isdisjoint(EIGHT_BITS)


def _has_codes(model: ProfiledModel) -> bool:
    return any(not _types(operator).isdisjoint(EIGHT_BITS) for operator in model.operators)


def _is_float32(model: ProfiledModel) -> bool:
    return not any(
        tensor.dtype in NOT_FLOAT32
        for operator in model.operators
        for tensor in (*operator.inputs, *operator.outputs)
    )


def _suffix(model: ProfiledModel) -> str:
    return PurePath(model.file.name).suffix


def _time(operators: Iterable[ProfiledOperator]) -> int:
    return sum(operator.ns for operator in operators)
