"""Where commands run files: here, or on a device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeconv.device.computing import Computing


def place_of(device: str | None) -> AbstractContextManager[Computing | None]:
    """Where the files run; None is here."""
    if device is None:
        return nullcontext()
    from edgeconv.device import open_device
    from edgeconv.device.computing import computing

    return computing(open_device(device))
