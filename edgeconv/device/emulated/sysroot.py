"""What a board's programs see as their system, and the plugin that counts their instructions."""

from __future__ import annotations

from pathlib import Path

from edgeconv.device.emulated import boards
from edgeconv.device.emulated.boards import Board, write_system_files
from edgeconv.device.emulated.cache import make_once, recipe
from edgeconv.device.emulated.requirements import program
from edgeconv.device.emulated.userland import ensure_userland, run_tool

COUNTER = Path(__file__).with_name("counter.c")


def ensure_sysroot(board: Board) -> Path:
    """Return a folder with the board's ``proc`` and ``sys``, and links to the rest of its userland.

    QEMU looks every path up here first (its option -L), so that programs find the libraries of
    their architecture and the cores of their board.

    Raises:
        UsageError: Packages of this machine are missing.
        EdgeconvError: A download failed.
    """
    userland = ensure_userland(board.architecture)

    def make(folder: Path) -> None:
        write_system_files(board, folder)
        for name in ("bin", "etc", "lib", "opt", "usr"):
            (folder / name).symlink_to(userland / name)

    made_from = recipe(str(userland), board, Path(boards.__file__), Path(__file__))
    return make_once(board.name, made_from, make)


def ensure_counter() -> Path:
    """Return the compiled plugin.

    Raises:
        UsageError: gcc is missing.
        EdgeconvError: It does not compile.
    """

    def make(folder: Path) -> None:
        run_tool(
            [program("gcc"), "-O2", "-shared", "-fPIC", "-o", folder / "counter.so", COUNTER],
            f"{COUNTER} does not compile",
        )

    return make_once("counter", recipe(COUNTER, Path(__file__)), make) / "counter.so"
