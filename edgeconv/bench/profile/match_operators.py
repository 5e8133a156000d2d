"""Which operators of two files of one network correspond to each other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from math import prod

from edgeconv.bench.profile.records import ProfiledOperator
from edgeconv.bench.profile.roofline import WEIGHTS

# What runtimes add to an operator's name when they fuse, quantize or change its layout.
VARIANT = re.compile(r"^(?:Nhwc)?(?:Fused|QLinear|Q(?=Gemm))?")
PADDED = 4  # times as many elements may come out where a runtime pads channels
BLOCK = 16  # channels that ONNX Runtime pads to, at most


@dataclass(frozen=True)
class _Kind:
    """What an operator is, and how many products it computes if that is known."""

    name: str
    work: int | None


def counterparts(
    ones: Sequence[ProfiledOperator], others: Sequence[ProfiledOperator]
) -> list[tuple[int, int]]:
    """Find the operators of two files that are the same operator of the network.

    Runtimes run branches in any order. So the longest common sequences of kinds are matched first,
    then the operators that are the only ones left with their amount of work. Operators whose
    outputs differ in size do not match.

    Returns:
        Pairs of indices.
    """
    mine, its = [_kind(one) for one in ones], [_kind(other) for other in others]
    pairs = [
        (block.a + step, block.b + step)
        for block in SequenceMatcher(None, mine, its, autojunk=False).get_matching_blocks()
        for step in range(block.size)
    ]
    left = _alone(mine, {index for index, _ in pairs})
    right = _alone(its, {index for _, index in pairs})
    pairs += [(index, right[kind]) for kind, index in left.items() if kind in right]
    return [(a, b) for a, b in sorted(pairs) if _alike(ones[a], others[b])]


def _alone(kinds: Sequence[_Kind], taken: set[int]) -> dict[_Kind, int]:
    """Indices of the operators that are not taken and whose kind occurs once among those."""
    rest = [
        (kind, index)
        for index, kind in enumerate(kinds)
        if index not in taken and kind.work is not None
    ]
    count = Counter(kind for kind, _ in rest)
    return {kind: index for kind, index in rest if count[kind] == 1}


def _kind(operator: ProfiledOperator) -> _Kind:
    return _Kind(VARIANT.sub("", operator.operator), _work(operator))


def _work(operator: ProfiledOperator) -> int | None:
    """Multiply-accumulates, as if the channels of every ONNX convolution were padded alike.

    In float they are padded, in int8 they are not.
    """
    place = WEIGHTS.get(operator.operator)
    weights = operator.inputs[place].shape if operator.macs and place is not None else ()
    if len(weights) < 2 or 0 in weights:
        return operator.macs
    made, summed, *window = weights  # [output channels, input channels of a group, height, width]
    positions = prod(operator.outputs[0].shape) // made
    return positions * _padded(made) * _padded(summed) * prod(window)


def _padded(channels: int) -> int:
    return -(-channels // BLOCK) * BLOCK


def _alike(one: ProfiledOperator, other: ProfiledOperator) -> bool:
    mine, its = _elements(one), _elements(other)
    return 0 < mine <= PADDED * its and its <= PADDED * mine


def _elements(operator: ProfiledOperator) -> int:
    return prod(operator.outputs[0].shape) if operator.outputs else 0
