from __future__ import annotations

import gc

import pytest

from edgeconv.export.set_aside import set_aside


def test_the_collector_passes_over_what_exists_until_the_end() -> None:
    assert gc.get_freeze_count() == 0
    with set_aside():
        assert gc.get_freeze_count() > 1000
    assert gc.get_freeze_count() == 0


def test_an_error_ends_it_too() -> None:
    with pytest.raises(ZeroDivisionError), set_aside():
        raise ZeroDivisionError
    assert gc.get_freeze_count() == 0


def test_what_the_caller_froze_stays_frozen() -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()
    try:
        with set_aside():
            assert gc.get_freeze_count() == frozen
        assert gc.get_freeze_count() == frozen
    finally:
        gc.unfreeze()
