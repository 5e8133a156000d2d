"""Let Python look for garbage seldom during an export, and once behind it."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

OBJECTS_BETWEEN_COLLECTIONS = 1_000_000
"""Tracing makes millions of objects and few cycles."""


@contextmanager
def collected_seldom(*, frees: bool = True) -> Iterator[None]:
    """Collect garbage seldom inside the block, and pass over what was imported before it.

    As often as Python does by itself, and with all that PyTorch is made of, it takes a tenth of the
    time of an export. Where the caller's program has frozen objects of its own, they stay frozen.

    The graphs of an export are cycles that hold its weights. Python would keep those of many
    exports, so they are freed behind the block, and the memory is given back.

    Args:
        frees: Whether they are; a program that ends next needs no more memory.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, *thresholds[1:])
    freezes = not gc.get_freeze_count()
    if freezes:
        gc.freeze()
    try:
        yield
    finally:
        if freezes:
            if frees:
                gc.collect()
            else:
                gc.freeze()  # or the usual threshold would have a million young objects looked at
            gc.unfreeze()
        gc.set_threshold(*thresholds)
        if freezes and frees:
            _give_back_memory()


def _give_back_memory() -> None:
    """Give the system what the C library keeps of freed memory for later, where it is glibc."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL("libc.so.6").malloc_trim(0)
