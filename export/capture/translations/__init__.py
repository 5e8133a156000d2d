"""Operators that PyTorch's exporter cannot write or mistakes, in terms of those it writes right.

A translation is a function in PyTorch: what it computes can be compared with the operator itself,
and types, shapes and broadcasting follow PyTorch's rules.
"""

from __future__ import annotations

from torch.export import ExportedProgram

from edgeconv.export.capture.translations import (
    aliases,
    assignment,
    attention,
    bits,
    booleans,
    cumulative,
    distance,
    einsum,
    embedding,
    gaussian,
    indexing,
    linear_algebra,
    losses,
    normalization,
    order,
    phases,
    pointwise,
    pooling,
    recurrent,
    reduction,
    rounded_division,
    search,
    signs,
    special,
    strided,
    table,
    windows,
)
from edgeconv.export.capture.translations.antialias import ONNX_FUNCTIONS
from edgeconv.export.capture.translations.composite import Traceable
from edgeconv.export.capture.translations.masked import unmask

__all__ = ["ONNX_FUNCTIONS", "TABLE", "Traceable", "translate"]

TABLE = table.merged(
    aliases.TABLE,
    assignment.TABLE,
    attention.TABLE,
    bits.TABLE,
    booleans.TABLE,
    cumulative.TABLE,
    distance.TABLE,
    einsum.TABLE,
    embedding.TABLE,
    gaussian.TABLE,
    indexing.TABLE,
    linear_algebra.TABLE,
    losses.TABLE,
    normalization.TABLE,
    order.TABLE,
    phases.TABLE,
    pointwise.TABLE,
    pooling.TABLE,
    recurrent.TABLE,
    reduction.TABLE,
    rounded_division.TABLE,
    search.TABLE,
    signs.TABLE,
    special.TABLE,
    strided.TABLE,
    windows.TABLE,
)


def translate(program: ExportedProgram) -> ExportedProgram:
    """``program`` with what is in :data:`TABLE` translated, and masked assignments as Where."""
    return table.apply(TABLE, unmask(program))
