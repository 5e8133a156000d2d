"""What a board's programs see as their system, and the plugin that counts their instructions."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from edgeconv.device.emulated.boards import Board, write_system_files
from edgeconv.device.emulated.requirements import program
from edgeconv.device.emulated.userland import cache_folder, ensure_userland, lock, run_tool

COUNTER = Path(__file__).with_name("counter.c")


def ensure_sysroot(board: Board) -> Path:
    """A folder with the board's ``proc`` and ``sys``, and links to the rest of its userland.

    QEMU looks every path up here first (its option -L), so that programs find the libraries of
    their architecture and the cores of their board.

    Raises:
        UsageError: packages of this machine are missing.
        EdgeconvError: a download failed.
    """
    userland = ensure_userland(board.architecture)
    recipe = hashlib.sha256(
        f"{userland} {board}".encode() + Path(__file__).read_bytes()
    ).hexdigest()[:12]
    folder = cache_folder() / f"{board.name}-{recipe}"
    if folder.is_dir():
        return folder
    with lock(cache_folder() / f"{board.name}.lock"):
        if folder.is_dir():
            return folder
        stage = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            write_system_files(board, stage)
            for name in ("bin", "etc", "lib", "opt", "usr"):
                (stage / name).symlink_to(userland / name)
            stage.rename(folder)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    return folder


def ensure_counter() -> Path:
    """The compiled plugin.

    Raises:
        UsageError: gcc is missing.
        EdgeconvError: it does not compile.
    """
    digest = hashlib.sha256(COUNTER.read_bytes()).hexdigest()[:12]
    library = cache_folder() / f"counter-{digest}.so"
    if library.is_file():
        return library
    with lock(cache_folder() / "counter.lock"):
        part = library.with_suffix(".part")
        run_tool(
            [program("gcc"), "-O2", "-shared", "-fPIC", "-o", part, COUNTER],
            f"{COUNTER} does not compile",
        )
        part.rename(library)
    return library
