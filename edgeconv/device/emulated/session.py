"""One SSH session on an emulated board: enter its userland, run the command that was asked for.

sshd starts it (ForceCommand) as a file, with only the standard library, so that a session begins
in a moment. It enters a mount namespace of its own, so nothing outside sees these mounts, and
makes the kernel there to run programs of the board's architecture by QEMU (binfmt_misc, which
belongs to the user namespace since Linux 6.7; before, the system's own registration must do).
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

BINFMT = Path("/proc/sys/fs/binfmt_misc")
MS_BIND, MS_REC = 0x1000, 0x4000
NAMESPACES = ("--user", "--map-root-user", "--mount", "--propagation", "private")


@dataclass(frozen=True)
class Settings:
    """What a session needs to know. Paths are this machine's unless another is named.

    Attributes:
        root: The userland.
        sysroot: The board's ``/proc`` and ``/sys``.
        home: The board's home.
        cpu: The core, by QEMU's name.
        elf_class: 1 for 32 and 2 for 64 bits, in the ELF header of the board's programs.
        elf_machine: The instruction set in that header.
        interpreter: The static QEMU that starts them.
        qemu: The QEMU that loads plugins.
        counter: The plugin that counts instructions.
        host_libraries: What the QEMU that loads plugins needs.
        python: The board's usual Python, as a path of the board.
    """

    root: str
    sysroot: str
    home: str
    cpu: str
    elf_class: int
    elf_machine: int
    interpreter: str
    qemu: str
    counter: str
    host_libraries: str
    python: str


def main() -> NoReturn:
    """Run as ``session.py SETTINGS [inside]``; the command is in SSH_ORIGINAL_COMMAND."""
    path, *inside = sys.argv[1:]
    if not inside:
        again = (sys.executable, "-I", __file__, path, "inside")
        os.execvp("unshare", ("unshare", *NAMESPACES, *again))
    settings = Settings(**json.loads(Path(path).read_text(encoding="utf-8")))
    try:
        register(settings)
        mount_all(settings)
    except OSError as error:
        sys.exit(f"the emulated board cannot be entered: {error}")
    os.chroot(settings.root)
    os.chdir("/home/pi")
    command = os.environ.get("SSH_ORIGINAL_COMMAND")
    arguments = ("bash", "-c", command) if command else ("-bash", "-l")
    os.execve("/bin/bash", arguments, environment(settings))


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of the command, in which nothing of this machine's is left."""
    kept = ("TERM", "SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")
    programs = os.path.dirname(settings.python)  # noqa: PTH120 - a path of the board
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "HOME": "/home/pi",
        "USER": "pi",
        "LANG": "C.UTF-8",
        "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin:/usr/sbin",
        "QEMU_CPU": settings.cpu,
    }


def register(settings: Settings) -> None:
    """Let the kernel start the board's programs with QEMU.

    The kernel opens QEMU here and now (flag F): inside the userland the path means nothing.

    Raises:
        OSError: The kernel keeps binfmt_misc to the system, which has no such registration.
    """
    name = Path(settings.qemu).name
    try:
        mount("binfmt_misc", os.fspath(BINFMT), "binfmt_misc", 0)
    except OSError as error:
        if (BINFMT / name).exists():
            return
        raise OSError(
            f"Linux {platform.release()} has no binfmt_misc in user namespaces (6.7 has), and "
            f"{name} is not registered in the system's"
        ) from error
    magic = b"\x7fELF" + bytes([settings.elf_class, 1, 1]) + bytes(9) + b"\2\0"
    magic += settings.elf_machine.to_bytes(2, "little")
    # Any ABI, and executables (2) as well as position-independent ones (3).
    mask = b"\xff" * 7 + b"\0" + b"\xff" * 8 + b"\xfe\xff\xff\xff"
    fields = (name, "M", "", escaped(magic), escaped(mask), settings.interpreter, "OF")
    (BINFMT / "register").write_text(":" + ":".join(fields))


def escaped(data: bytes) -> str:
    """Write bytes as binfmt_misc reads them."""
    return "".join(f"\\x{byte:02x}" for byte in data)


def mount_all(settings: Settings) -> None:
    """Mount what comes from outside the userland."""
    root, sysroot = settings.root, settings.sysroot
    mount("/proc", f"{root}/proc", "", MS_BIND | MS_REC)
    mount("/dev", f"{root}/dev", "", MS_BIND | MS_REC)
    for file in Path(f"{sysroot}/proc").iterdir():
        mount(str(file), f"{root}/proc/{file.name}", "", MS_BIND)
    mount(f"{sysroot}/sys", f"{root}/sys", "", MS_BIND)
    mount(settings.home, f"{root}/home/pi", "", MS_BIND)
    mount("tmpfs", f"{root}/tmp", "tmpfs", 0)
    # The QEMU that counts is a program of this machine, with this machine's libraries.
    mount(settings.qemu, f"{root}/opt/emulator/qemu", "", MS_BIND)
    mount(settings.counter, f"{root}/opt/emulator/counter.so", "", MS_BIND)
    mount("/lib64", f"{root}/lib64", "", MS_BIND)
    mount(settings.host_libraries, f"{root}{settings.host_libraries}", "", MS_BIND)


def mount(source: str, target: str, kind: str, flags: int) -> None:
    """Mount by the system call: Python has none."""
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (source.encode(), target.encode(), kind.encode())
    if libc.mount(*arguments, ctypes.c_ulong(flags), None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {source} on {target}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
