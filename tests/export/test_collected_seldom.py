from __future__ import annotations

import gc
import weakref

import pytest

from edgeconv.export.collected_seldom import OBJECTS_BETWEEN_COLLECTIONS, collected_seldom


def test_all_is_as_before_in_the_end() -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    with collected_seldom():
        assert gc.get_threshold()[0] == OBJECTS_BETWEEN_COLLECTIONS
        assert gc.get_freeze_count() > 1000
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


def test_an_error_ends_it_too() -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    with pytest.raises(ZeroDivisionError), collected_seldom():
        raise ZeroDivisionError
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


def test_what_the_caller_froze_stays_frozen() -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()
    try:
        with collected_seldom():
            # A thread that another test left may free some of them.
            assert frozen * 0.99 < gc.get_freeze_count() <= frozen
        assert frozen * 0.99 < gc.get_freeze_count() <= frozen
    finally:
        gc.unfreeze()


class _Cycle:
    def __init__(self) -> None:
        self.itself = self


def test_cycles_are_freed_behind_it() -> None:
    with collected_seldom():
        left = weakref.ref(_Cycle())
    assert left() is None
