"""Keep Python's garbage collector from what a capture leaves in memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def set_aside() -> Iterator[None]:
    """Let the collector pass over all objects that exist when the block begins.

    PyTorch and its exporter leave more than a million of them, which live until the export ends.
    Each full collection would walk over all of them: a tenth of the time of an export.

    Where the caller's program has frozen objects of its own, nothing is changed.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
