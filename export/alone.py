"""One export at a time: PyTorch's exporter works on what belongs to the whole process."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from edgeconv.export.collected_seldom import collected_seldom

# PyTorch's exporter, the silence around it and standard error belong to the whole process, so
# exports of several threads wait for each other. An export may begin another one.
ONE_AT_A_TIME = threading.RLock()
# PyTorch's exporter sets it when it imports the compiler, which writes there.
_SET_BY_PYTORCH = "TORCHINDUCTOR_CACHE_DIR"


@contextmanager
def alone(model: object) -> Iterator[None]:
    """Wait for the exports of other threads, and leave the caller's things as they were.

    Args:
        model: The caller's network, if it is one. Every part of it gets its mode back: an export
            puts it into eval mode.
    """
    with ONE_AT_A_TIME, collected_seldom():
        parts = list(model.modules()) if isinstance(model, nn.Module) else []
        modes = [part.training for part in parts]
        folders = list(sys.path)  # a file of the user's gets its own folder there
        stated = _SET_BY_PYTORCH in os.environ
        try:
            yield
        finally:
            sys.path[:] = folders
            if not stated:
                os.environ.pop(_SET_BY_PYTORCH, None)
            for part, mode in zip(parts, modes, strict=True):
                part.training = mode
