"""Orders: the algebra that keeps transposes out of the files."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeconv.export.tflite.layout import (
    CHANNELS_LAST,
    MOST_MOVED,
    Order,
    channels_last,
    moves,
    permuted,
)

SHAPES = st.lists(st.sampled_from([1, 1, 2, 3, 4, 6]), min_size=1, max_size=5).map(tuple)


@st.composite
def shapes_and_perms(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape = draw(SHAPES)
    return shape, tuple(draw(st.permutations(range(len(shape)))))


@st.composite
def regroupings(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Another shape for as many elements."""
    sizes = [1] * draw(st.integers(0, 1))
    rest = prod(shape)
    while rest > 1:
        size = draw(st.sampled_from([d for d in range(2, rest + 1) if rest % d == 0]))
        sizes.append(size)
        rest //= size
    return tuple(sizes)


def elements(shape: tuple[int, ...]) -> NDArray[Any]:
    return np.arange(prod(shape)).reshape(shape)


def stored(value: NDArray[Any], order: Order) -> NDArray[Any]:
    """The elements as the definition of an order says."""
    return value.reshape(order.dims).transpose(order.perm).reshape(-1)


@given(shapes_and_perms())
def test_an_order_is_its_definition(given: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    shape, perm = given
    value = elements(shape)
    order = Order.of(shape, perm)
    assert np.array_equal(stored(value, order), value.transpose(perm).reshape(-1))
    assert order.is_identity == np.array_equal(stored(value, order), value.reshape(-1))


@given(shapes_and_perms(), st.data())
def test_a_transposed_value_keeps_its_elements(
    given: tuple[tuple[int, ...], tuple[int, ...]], data: st.DataObject
) -> None:
    shape, perm = given
    value = elements(shape)
    order = Order.of(shape, perm)
    again = tuple(data.draw(st.permutations(range(len(shape)))))
    new = order.transposed(shape, again)
    assert new is not None
    assert np.array_equal(stored(value.transpose(again), new), stored(value, order))


@given(shapes_and_perms(), st.data())
def test_a_reshaped_value_is_transposed_or_refused(
    given: tuple[tuple[int, ...], tuple[int, ...]], data: st.DataObject
) -> None:
    shape, perm = given
    other = data.draw(regroupings(shape))
    value = elements(shape).reshape(other)
    order = Order.of(shape, perm)
    again = tuple(data.draw(st.permutations(range(len(other)))))
    new = order.transposed(other, again)
    if new is not None:
        assert np.array_equal(stored(value.transpose(again), new), stored(value, order))


@given(shapes_and_perms(), st.data())
def test_moves_lead_from_any_order_to_any_other(
    given: tuple[tuple[int, ...], tuple[int, ...]], data: st.DataObject
) -> None:
    shape, perm = given
    other = data.draw(regroupings(shape))
    wanted = tuple(data.draw(st.permutations(range(len(other)))))
    value = elements(shape)
    tensor = value.transpose(perm)
    target = Order.of(other, wanted)
    for move in moves(Order.of(shape, perm), target, tensor.shape, permuted(other, wanted)):
        tensor = tensor.reshape(move.shape).transpose(move.perm)
    assert np.array_equal(tensor.reshape(-1), stored(value.reshape(other), target))


@given(st.permutations(range(9)), st.permutations(range(9)))
def test_a_move_has_no_more_axes_than_a_runtime_takes(have: list[int], want: list[int]) -> None:
    shape = (2, 3, 2, 2, 3, 2, 2, 3, 2)
    value = elements(shape)
    tensor = value.transpose(have)
    source, target = Order.of(shape, have), Order.of(shape, want)
    for move in moves(source, target, tensor.shape, permuted(shape, tuple(want))):
        assert len(move.perm) <= MOST_MOVED
        tensor = tensor.reshape(move.shape).transpose(move.perm)
    assert np.array_equal(tensor.reshape(-1), stored(value, target))


@given(shapes_and_perms())
def test_a_perm_is_found_again(given: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    shape, perm = given
    order = Order.of(shape, perm)
    found = order.as_perm(shape)
    assert found is not None
    assert Order.of(shape, found) == order


@given(shapes_and_perms(), st.data())
def test_rows_and_columns_are_permutations_of_the_matrix(
    given: tuple[tuple[int, ...], tuple[int, ...]], data: st.DataObject
) -> None:
    shape, perm = given
    cut = data.draw(st.integers(0, len(shape)))
    rows, columns = prod(shape[:cut]), prod(shape[cut:])
    value = elements(shape)
    order = Order.of(shape, perm)
    found = order.rows_and_columns(rows, columns)
    if found is not None:
        outer, inner = (
            np.arange(count).reshape(dims).transpose(places).reshape(-1)
            for count, (dims, places) in ((rows, found.rows), (columns, found.columns))
        )
        matrix = value.reshape(rows, columns)[outer][:, inner]
        assert np.array_equal(matrix.reshape(-1), stored(value, order))


def test_a_shuffled_axis_is_nearest_to_where_it_was() -> None:
    # Channels last, the channels in two groups that were exchanged.
    order = Order.of((2, 3, 7), (2, 0, 1)).transposed((2, 3, 7), (1, 0, 2))
    assert order is not None
    assert order.as_perm((1, 6, 7, 1)) is None
    assert order.nearest_perm((1, 6, 7, 1)) == (0, 3, 2, 1)


def test_a_map_of_one_pixel_has_no_order() -> None:
    assert Order.of((2, 5, 1, 1), CHANNELS_LAST).is_identity


def test_moving_channels_needs_no_reshape() -> None:
    source, target = Order.of((1, 3, 4, 5), CHANNELS_LAST), Order.of((1, 3, 4, 5), (0, 1, 2, 3))
    (move,) = moves(source, target, (1, 4, 5, 3), (1, 3, 4, 5))
    assert move.shape == (1, 4, 5, 3)
    assert move.perm == (0, 3, 1, 2)


def test_channels_last_of_any_rank() -> None:
    assert channels_last(2) == (0, 1)
    assert channels_last(3) == (0, 2, 1)
    assert channels_last(4) == CHANNELS_LAST
