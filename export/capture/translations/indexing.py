"""Assignment under a boolean mask, which becomes Where, and diagonals in einsum."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten
Indices = Sequence[torch.Tensor | None]


def _put(
    x: torch.Tensor, indices: Indices, values: torch.Tensor, accumulate: bool = False
) -> torch.Tensor:
    mask = indices[-1]
    assert mask is not None
    before = len(indices) - 1
    after = x.dim() - before - mask.dim()
    shape = [*values.shape]
    if len(shape) > after:
        # The dimension of the places that the mask selects: one value serves all of them.
        shape[-after - 1 : len(shape) - after] = [1] * mask.dim()
    chosen = mask.reshape(*[1] * before, *mask.shape, *[1] * after)
    new = values.reshape(shape)
    return torch.where(chosen, x + new if accumulate else new, x)


def _is_mask_for_one_value(
    x: torch.Tensor, indices: Indices, values: torch.Tensor, accumulate: bool = False
) -> bool:
    """Whether one mask, after nothing but whole dimensions, is given values known beforehand."""
    mask = indices[-1]
    if mask is None or mask.dtype != torch.bool or any(i is not None for i in indices[:-1]):
        return False
    after = x.dim() - (len(indices) - 1) - mask.dim()
    return values.dim() <= after or values.shape[-after - 1] == 1


def _einsum(equation: str, operands: Sequence[torch.Tensor], *, path: Any = None) -> torch.Tensor:
    terms, result = _explicit(equation)
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


def _has_diagonal(equation: str, operands: Sequence[torch.Tensor], *, path: Any = None) -> bool:
    terms, _ = _explicit(equation)
    return any(len(set(term) - {"."}) < len(term.replace(".", "")) for term in terms)


TABLE: Table = {
    _aten.index_put.default: Translation(_put, _is_mask_for_one_value),
    _aten.einsum.default: Translation(_einsum, _has_diagonal),
}
