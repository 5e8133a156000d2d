"""Where the elements of a stored tensor lie relative to the ONNX value it holds.

An ONNX graph fixes one order of dimensions (NCHW) and says Transpose or Reshape whenever it wants
another. Here both are free: a value keeps the tensor it has and only its :class:`Order` changes.
An operator moves data when it asks for a value in an order that the tensor does not have, so
transposes that cancel, merge, or end in front of a constant are never written.

An order is the pair (dims, perm) for which

    stored.reshape(-1) == value.reshape(dims).transpose(perm).reshape(-1)

kept in the one form without dimensions of size 1 and without neighbors that could be one
dimension. It does not depend on how the value's shape groups its elements, which is why a reshape
leaves it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from math import prod

Shape = tuple[int, ...]
Perm = tuple[int, ...]

CHANNELS_LAST: Perm = (0, 2, 3, 1)
"""NCHW to NHWC."""

DEPTH_CHANNELS_LAST: Perm = (0, 2, 3, 4, 1)
"""NCDHW to NDHWC."""

MOST_MOVED = 6
"""Axes that TRANSPOSE takes on every runtime."""


def identity(rank: int) -> Perm:
    """Return the permutation that leaves ``rank`` axes where they are."""
    return tuple(range(rank))


def permuted(shape: Sequence[int], perm: Perm) -> Shape:
    """Put the sizes of ``shape`` into the order ``perm``."""
    return tuple(shape[axis] for axis in perm)


def channels_last(rank: int) -> Perm:
    """Batch, spatial dimensions, channels: where TFLite keeps the channels of a map."""
    return (0, *range(2, rank), 1) if rank > 2 else identity(rank)


@dataclass(frozen=True)
class Order:
    """See the module. Build one with :meth:`of`, which brings it into its only form."""

    dims: Shape
    perm: Perm

    @classmethod
    def of(cls, dims: Sequence[int], perm: Sequence[int]) -> Order:
        """The order of ``value.transpose(perm)`` for a value of shape ``dims``."""
        if 0 in dims:
            return cls((), ())
        kept = [axis for axis in perm if dims[axis] != 1]
        runs: list[list[int]] = []
        rank_of = {axis: rank for rank, axis in enumerate(sorted(kept))}
        for axis in kept:
            if runs and rank_of[axis] == rank_of[runs[-1][-1]] + 1:
                runs[-1].append(axis)
            else:
                runs.append([axis])
        by_value = sorted(runs)
        return cls(
            tuple(prod(dims[axis] for axis in run) for run in by_value),
            tuple(by_value.index(run) for run in runs),
        )

    @property
    def is_identity(self) -> bool:
        """Whether the elements lie in ONNX's order."""
        return len(self.dims) <= 1

    def refined(self, shape: Sequence[int]) -> tuple[Shape, Perm] | None:
        """Split dims so that each axis of ``shape`` is a group of neighbors.

        Returns:
            ``(dims, perm)`` of this order; None if a boundary of ``shape`` cuts a dimension
            unevenly.
        """
        cuts = _strides(self.dims) | _strides(shape)
        chain = sorted(cuts | {prod(shape)}, reverse=True)
        if any(above % below for above, below in pairwise(chain)):
            return None
        pieces: list[Shape] = []
        for size, stride in zip(self.dims, _stride_list(self.dims), strict=True):
            inner = [cut for cut in chain if stride <= cut < size * stride]
            outer = [size * stride, *inner]
            pieces.append(tuple(a // b for a, b in zip(outer, inner, strict=False)))
        starts = [sum(len(piece) for piece in pieces[:index]) for index in range(len(pieces))]
        dims = tuple(size for piece in pieces for size in piece)
        perm = tuple(
            starts[dim] + offset for dim in self.perm for offset in range(len(pieces[dim]))
        )
        return dims, perm

    def grouped(self, shape: Sequence[int]) -> tuple[list[list[int]], Shape, Perm] | None:
        """The refined dims that belong to each axis of ``shape``, with ``(dims, perm)``."""
        refined = self.refined(shape)
        if refined is None:
            return None
        dims, perm = refined
        groups: list[list[int]] = []
        position = 0
        for size in shape:
            group: list[int] = []
            while prod(dims[index] for index in group) < size:
                group.append(position)
                position += 1
            groups.append(group)
        return groups, dims, perm

    def transposed(self, shape: Sequence[int], perm: Perm) -> Order | None:
        """Compute the order of the same stored elements for ``value.transpose(perm)``.

        Returns:
            None if the axes of ``shape`` cannot be distinguished in the stored tensor.
        """
        if 0 in shape:
            return self
        grouped = self.grouped(shape)
        if grouped is None:
            return None
        groups, dims, stored = grouped
        moved = [index for axis in perm for index in groups[axis]]
        place = {index: new for new, index in enumerate(moved)}
        return Order.of(permuted(dims, tuple(moved)), [place[index] for index in stored])

    def as_perm(self, shape: Sequence[int]) -> Perm | None:
        """The permutation of the axes of ``shape`` that gives this order, or None.

        Axes of size 1 could stand anywhere; the plain order and channels last come first.
        """
        rank = len(shape)
        for candidate in (identity(rank), channels_last(rank)):
            if Order.of(shape, candidate) == self:
                return candidate
        grouped = self.grouped(shape)
        if grouped is None:
            return None
        groups, _, stored = grouped
        ones = [axis for axis, group in enumerate(groups) if not group]
        owner = {index: axis for axis, group in enumerate(groups) for index in group}
        axes = list(dict.fromkeys(owner[index] for index in stored))
        candidate = (*ones, *axes)
        return candidate if Order.of(shape, candidate) == self else None

    def nearest_perm(self, shape: Sequence[int]) -> Perm:
        """Compute the order of axes that is nearest to the stored one.

        An axis that is stored in pieces goes to where its last piece is.
        """
        exact = self.as_perm(shape)
        grouped = self.grouped(shape)
        if exact is not None or grouped is None:
            return exact or identity(len(shape))
        groups, _, stored = grouped
        # An axis of size 1 goes to the front, where it does not separate neighbors.
        place = [max((stored.index(index) for index in group), default=-1) for group in groups]
        return tuple(sorted(range(len(shape)), key=lambda axis: place[axis]))

    def rows_and_columns(self, rows: int, columns: int) -> Matrix | None:
        """How a value seen as a matrix is stored, where each row's columns lie together; else None.

        A matrix product can then take the rows as they come and permute its constant operand for
        the columns: nothing has to move.
        """
        grouped = self.grouped((rows, columns))
        if grouped is None:
            return None
        (row_group, column_group), dims, stored = grouped
        count = len(row_group)
        if sorted(stored[:count]) != row_group:
            return None
        return Matrix(
            (tuple(dims[index] for index in row_group), tuple(stored[:count])),
            (
                tuple(dims[index] for index in column_group),
                tuple(index - count for index in stored[count:]),
            ),
        )


@dataclass(frozen=True)
class Matrix:
    """A stored matrix, row after row: ``(dims, perm)`` of its rows and of the columns in each."""

    rows: tuple[Shape, Perm]
    columns: tuple[Shape, Perm]

    @classmethod
    def plain(cls, rows: int, columns: int) -> Matrix:
        """Describe a matrix whose elements lie in the plain order."""
        return cls(((rows,), (0,)), ((columns,), (0,)))

    def with_columns(self, count: int) -> Order:
        """The order of a matrix with these rows and ``count`` columns in the plain order."""
        dims, perm = self.rows
        return Order.of((*dims, count), (*perm, len(dims)))


@dataclass(frozen=True)
class Move:
    """A transposition of a stored tensor: reshape to ``shape``, then transpose by ``perm``."""

    shape: Shape
    perm: Perm


def moves(source: Order, target: Order, stored: Shape, wanted: Shape) -> tuple[Move, ...]:
    """What turns a tensor of shape ``stored`` in ``source`` order into ``target`` order.

    One move, or two through the plain order where the two orders cut the elements unevenly, or into
    more axes than one move takes, and more where one of these still has too many. The move is
    stated on ``stored`` itself where that gives ``wanted`` without any reshape.
    """
    if source == target:
        return ()
    joint = _joint(source, target)
    change = None if joint is None else _change(*joint)
    many = change is not None and len(change.dims) > MOST_MOVED
    if change is None or (many and not source.is_identity and not target.is_identity):
        plain = Order.of((prod(stored),), (0,))
        return (
            *moves(source, plain, stored, (prod(stored),)),
            *moves(plain, target, (prod(stored),), wanted),
        )
    for direct in _perms_between(stored, wanted):
        if Order.of(stored, direct) == change:
            return (Move(stored, direct),)
    return tuple(_split(change))


def _split(change: Order) -> Iterable[Move]:
    """Moves of few axes that make up ``change``: each brings as many to the front as it can."""
    dims, perm = change.dims, change.perm
    while len(dims) > MOST_MOVED:
        fronts = (
            (*perm[:count], *(axis for axis in identity(len(dims)) if axis not in perm[:count]))
            for count in range(len(dims), 0, -1)
        )
        front = next(p for p in fronts if len(Order.of(dims, p).dims) <= MOST_MOVED)
        step = Order.of(dims, front)
        yield Move(step.dims, step.perm)
        rest = Order.of(permuted(dims, front), [front.index(axis) for axis in perm])
        dims, perm = rest.dims, rest.perm
    if len(dims) > 1:
        yield Move(dims, perm)


def _change(dims: Shape, have: Perm, want: Perm) -> Order:
    """How a tensor with ``dims`` in the order ``have`` moves to the order ``want``."""
    return Order.of(permuted(dims, have), [have.index(index) for index in want])


def _joint(source: Order, target: Order) -> tuple[Shape, Perm, Perm] | None:
    """Dims that refine both orders, with the permutation of each."""
    first = source.refined(target.dims)
    second = target.refined(source.dims)
    if first is None or second is None:
        return None
    return first[0], first[1], second[1]


def _perms_between(stored: Shape, wanted: Shape) -> Iterable[Perm]:
    if len(stored) != len(wanted) or len(stored) > MOST_MOVED or sorted(stored) != sorted(wanted):
        return ()
    return (perm for perm in permutations(range(len(stored))) if permuted(stored, perm) == wanted)


def _stride_list(dims: Sequence[int]) -> list[int]:
    return [prod(dims[index + 1 :]) for index in range(len(dims))]


def _strides(dims: Sequence[int]) -> set[int]:
    return {stride for size, stride in zip(dims, _stride_list(dims), strict=True) if size != 1}
