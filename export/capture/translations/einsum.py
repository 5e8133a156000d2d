"""Forms of einsum that ONNX does not have: diagonals, and ellipses of several shapes."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten


def _einsum(equation: str, operands: Sequence[torch.Tensor], *, path: Any = None) -> torch.Tensor:
    terms, result = _explicit(equation)
    if _is_uneven(terms, result, operands):
        terms, result, operands = _named(terms, result, operands)
    narrowed = [_without_repeats(*pair) for pair in zip(terms, operands, strict=True)]
    equation = ",".join(term for term, _ in narrowed) + "->" + result
    return torch.einsum(equation, *(operand for _, operand in narrowed))


def _explicit(equation: str) -> tuple[list[str], str]:
    """The subscripts of the operands and of the result, without spaces."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    if not arrow:
        once = [letter for letter in string.ascii_letters if left.count(letter) == 1]
        right = ("..." if "..." in left else "") + "".join(sorted(once))
    return left.split(","), right


def _without_repeats(term: str, operand: torch.Tensor) -> tuple[str, torch.Tensor]:
    """Take the diagonal of dimensions that have one name."""
    repeated = next((letter for letter in term if letter.isalpha() and term.count(letter) > 1), "")
    if not repeated:
        return term, operand
    # With an ellipsis as as many dots as it has dimensions, each character is a dimension.
    letters = term.replace("...", "")
    named = term.replace("...", "." * (operand.dim() - len(letters)))
    first = named.index(repeated)
    second = named.index(repeated, first + 1)
    size = operand.shape[first]
    rest = [axis for axis in range(operand.dim()) if axis not in (first, second)]
    square = operand.permute(*rest, first, second).flatten(-2)
    diagonal = square[..., :: size + 1]
    kept = "".join(named[axis] for axis in rest)
    if "." in kept:
        kept = kept.replace("." * kept.count("."), "...")
    return _without_repeats(kept + repeated, diagonal)


def _lead(term: str, operand: torch.Tensor) -> tuple[int, ...]:
    """The sizes of the dimensions that an ellipsis stands for."""
    before, ellipsis, after = term.partition("...")
    return tuple(operand.shape[len(before) : operand.dim() - len(after)]) if ellipsis else ()


def _is_uneven(terms: Sequence[str], result: str, operands: Sequence[torch.Tensor]) -> bool:
    """Whether ellipses differ in shape, or are summed over, which ONNX does not know."""
    leads = {_lead(*pair) for pair in zip(terms, operands, strict=True) if "..." in pair[0]}
    return len(leads) > 1 or (bool(leads) and "..." not in result)


def _named(
    terms: Sequence[str], result: str, operands: Sequence[torch.Tensor]
) -> tuple[list[str], str, list[torch.Tensor]]:
    """The same with a letter for each dimension that an ellipsis stands for.

    An operand loses those in which it is repeated for the others.
    """
    leads = [_lead(*pair) for pair in zip(terms, operands, strict=True)]
    whole = torch.broadcast_shapes(*leads)  # type: ignore[no-untyped-call]
    used = set("".join(terms) + result)
    free = [letter for letter in string.ascii_letters if letter not in used][: len(whole)]
    named, kept = [], []
    for term, operand, lead in zip(terms, operands, leads, strict=True):
        start = term.find("...")
        letters: list[str] = []
        for place in reversed(range(len(lead))):
            axis = len(whole) - len(lead) + place
            if lead[place] == whole[axis]:
                letters.insert(0, free[axis])
            else:
                operand = operand.squeeze(start + place)
        named.append(term.replace("...", "".join(letters)))
        kept.append(operand)
    return named, result.replace("...", "".join(free)), kept


def _needs_translation(
    equation: str, operands: Sequence[torch.Tensor], *, path: Any = None
) -> bool:
    terms, result = _explicit(equation)
    repeats = any(len(set(term) - {"."}) < len(term.replace(".", "")) for term in terms)
    return repeats or _is_uneven(terms, result, operands)


TABLE: Table = {_aten.einsum.default: Translation(_einsum, _needs_translation)}
