"""Files that are written whole or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield the path of a file to write; on success it takes the place of ``path``.

    A symbolic link stays, and what it points to is replaced. What is no file, such as /dev/null
    or a pipe, is written to.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        yield target
        return
    part = target.with_name(f".edgeconv.{secrets.token_hex(4)}.part")
    part.open("x").close()
    try:
        yield part
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
