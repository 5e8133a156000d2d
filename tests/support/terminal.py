"""What programs show on a terminal."""

from __future__ import annotations

import os


def shown_on(ours: int) -> bytes:
    """Read our end of a pseudoterminal until the program has closed the other, and close it."""
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says EIO when the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    return shown
