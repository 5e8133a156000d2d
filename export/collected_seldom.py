"""Let Python look for garbage seldom during an export."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

OBJECTS_BETWEEN_COLLECTIONS = 100_000
"""Tracing makes millions of objects and few cycles."""


@contextmanager
def collected_seldom() -> Iterator[None]:
    """Collect garbage seldom inside the block, and pass over what was imported before it.

    As often as Python does by itself, and with all that PyTorch is made of, it takes a tenth of the
    time of an export. Where the caller's program has frozen objects of its own, they stay frozen.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, *thresholds[1:])
    freezes = not gc.get_freeze_count()
    if freezes:
        gc.freeze()
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        if freezes:
            gc.unfreeze()
