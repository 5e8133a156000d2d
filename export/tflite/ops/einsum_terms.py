"""The equation of an Einsum, and products of more than two operands as products of two."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from math import prod

import onnx_ir as ir

from edgeconv.export.tflite.layout import Shape
from edgeconv.export.tflite.legalize.call import Call
from edgeconv.export.tflite.legalize.decompose import Decomposer
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.registry import decomposition_of

ELLIPSIS_LABELS = "\u2460\u2461\u2462\u2463\u2464\u2465"
"""Stand for the dimensions behind "...", the last of them for the last dimension."""


def parsed(node: NodeLowering | Call, shapes: Sequence[Shape]) -> tuple[list[str], str]:
    """Find a label for each axis of each input and of the result.

    Raises:
        UnsupportedOperator: The equation does not fit the shapes.
    """
    equation = node.attributes.get_string("equation", "").replace(" ", "")
    left, arrow, result = equation.partition("->")
    texts = left.split(",")
    if len(texts) != len(shapes):
        raise node.unsupported(f"{equation} does not fit {len(shapes)} operands", _CHECK)
    terms = [_spelled(node, text, len(shape)) for text, shape in zip(texts, shapes, strict=True)]
    hidden = sorted({label for label in chain(*terms) if label in ELLIPSIS_LABELS})
    if arrow:
        result = result.replace("...", "".join(hidden))
    else:
        counts = Counter("".join(terms))
        result = "".join(hidden + sorted(k for k, n in counts.items() if n == 1 and k.isalpha()))
    return terms, result


_CHECK = "check the equation"


def _spelled(node: NodeLowering | Call, term: str, rank: int) -> str:
    hidden = rank - len(term.replace("...", ""))
    if hidden < 0 or hidden > len(ELLIPSIS_LABELS) or (hidden and "..." not in term):
        raise node.unsupported(f"{term} does not fit rank {rank}", _CHECK)
    return term.replace("...", ELLIPSIS_LABELS[len(ELLIPSIS_LABELS) - hidden :])


def _is_no_plain_product(call: Call) -> bool:
    """Select what is more than a product of two operands of equal sizes without diagonals."""
    shapes = [None if value is None else value.shape for value in call.inputs]
    if len(shapes) > 2 or not all(shape is not None and shape.is_static() for shape in shapes):
        return True
    known = [shape.numpy() for shape in shapes if shape is not None]
    terms, _ = parsed(call, known)
    axes = [dict(zip(term, shape, strict=True)) for term, shape in zip(terms, known, strict=True)]
    has_diagonal = any(len(sizes) < len(term) for sizes, term in zip(axes, terms, strict=True))
    return has_diagonal or any(
        axes[0][label] != axes[-1][label] for label in axes[0].keys() & axes[-1].keys()
    )


@dataclass(frozen=True, eq=False)
class _Term:
    """An operand with a letter for each axis."""

    value: ir.Value
    labels: str


@decomposition_of("Einsum", when=_is_no_plain_product)
def einsum_in_pairs(f: Decomposer) -> list[ir.Value]:
    """Einsums of two operands each, smallest result first, without diagonals and broadcasting."""
    values = [f.input(index) for index in range(len(f.inputs))]
    terms, result = parsed(f, [f.shape(value) for value in values])
    letters = dict(zip(dict.fromkeys(chain(*terms)), string.ascii_letters, strict=False))
    sizes: dict[str, int] = {}
    for value, term in zip(values, terms, strict=True):
        for label, size in zip(term, f.shape(value), strict=True):
            known = sizes.get(letters[label], 1)
            if 1 not in (size, known) and size != known:
                raise f.unsupported(f"axes of one label have {known} and {size} elements", _CHECK)
            sizes[letters[label]] = max(size, known)
    operands = [
        _plain(f, _Term(value, "".join(letters[label] for label in term)), sizes)
        for value, term in zip(values, terms, strict=True)
    ]
    wanted = "".join(letters[label] for label in result)
    while len(operands) > 2:
        first, second = min(
            combinations(operands, 2), key=lambda pair: _size(pair, operands, wanted, sizes)
        )
        labels = _kept((first, second), operands, wanted)
        value = f(
            "Einsum",
            first.value,
            second.value,
            equation=f"{first.labels},{second.labels}->{labels}",
        )
        rest = [each for each in operands if each is not first and each is not second]
        operands = [*rest, _Term(value, labels)]
    equation = ",".join(each.labels for each in operands)
    return [f("Einsum", *(each.value for each in operands), equation=f"{equation}->{wanted}")]


def _kept(pair: tuple[_Term, _Term], operands: Sequence[_Term], wanted: str) -> str:
    """The labels of a product of two operands that something else needs."""
    others = "".join(each.labels for each in operands if each not in pair) + wanted
    return "".join(x for x in dict.fromkeys(pair[0].labels + pair[1].labels) if x in others)


def _size(
    pair: tuple[_Term, _Term], operands: Sequence[_Term], wanted: str, sizes: dict[str, int]
) -> int:
    return prod(sizes[label] for label in _kept(pair, operands, wanted))


def _plain(f: Decomposer, term: _Term, sizes: dict[str, int]) -> _Term:
    """An operand with one axis for a label, and without axes of one element that broadcast."""
    for label, count in Counter(term.labels).items():
        for _ in range(count - 1):
            term = _diagonal(f, term, label)
    shape = f.shape(term.value)
    axes = [axis for axis, label in enumerate(term.labels) if shape[axis] == sizes[label]]
    if len(axes) == len(shape):
        return term
    value = f("Reshape", term.value, [shape[axis] for axis in axes])
    return _Term(value, "".join(term.labels[axis] for axis in axes))


def _diagonal(f: Decomposer, term: _Term, label: str) -> _Term:
    """What lies at equal places of the first two axes of a label: each (size + 1)-th element."""
    two = [axis for axis, other in enumerate(term.labels) if other == label][:2]
    rest = [axis for axis in range(len(term.labels)) if axis not in two]
    shape = f.shape(term.value)
    size = shape[two[0]]
    moved = f("Transpose", term.value, perm=[*rest, *two])
    flat = f("Reshape", moved, [*(shape[axis] for axis in rest), size * size])
    taken = f("Slice", flat, [0], [size * size], [len(rest)], [size + 1])
    return _Term(taken, "".join(term.labels[axis] for axis in rest) + label)
