"""The Debian packages of this machine that the emulation stands on."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from edgeconv.errors import UsageError

# Package to the programs of it that are used. The dynamically linked QEMU of qemu-user loads
# plugins, the static one of qemu-user-static starts programs inside the userland.
PROGRAMS = {
    "qemu-user": ("qemu-aarch64", "qemu-arm"),
    "qemu-user-static": ("qemu-aarch64-static", "qemu-arm-static"),
    "openssh-server": ("sshd",),
    "openssh-client": ("ssh", "ssh-keygen"),
    "gcc": ("gcc",),
    "apt": ("apt-get",),
    "dpkg": ("dpkg-deb",),
    "util-linux": ("unshare", "mount"),
}
# Of QEMU: from the first to the last with the plugin interface that the counter speaks.
OLDEST_QEMU, NEWEST_QEMU = 6, 8


def program(name: str) -> str:
    """Return the path of a program, which may lie outside an ordinary user's PATH.

    Raises:
        UsageError: It is not installed.
    """
    found = _find(name)
    if found is None:
        package = next(package for package, names in PROGRAMS.items() if name in names)
        raise _not_installed([package])
    return found


def missing_packages() -> list[str]:
    """Return the Debian packages to install before a board can be emulated."""
    return [package for package, names in PROGRAMS.items() if not all(map(_find, names))]


def check_this_machine() -> None:
    """Check that everything that the emulation needs is installed.

    Raises:
        UsageError: Something is missing, or QEMU is of another version.
    """
    if platform.machine() != "x86_64":
        raise UsageError(f"the emulated Pi runs on x86-64 machines, not on {platform.machine()}")
    missing = missing_packages()
    if missing:
        raise _not_installed(missing)
    qemu = program("qemu-aarch64")
    done = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"version (\d+)\.(\d+)", done.stdout)
    if version is None or not OLDEST_QEMU <= int(version[1]) <= NEWEST_QEMU:
        raise UsageError(
            f"{qemu} is version {version[0][8:] if version else 'unknown'}",
            hint=f"install QEMU {OLDEST_QEMU} to {NEWEST_QEMU}, such as Debian 12's",
        )


def session_obstacle() -> str | None:
    """Return why no session can be entered on this machine, or None."""
    enter = [program("unshare"), "--user", "--map-root-user", "--mount", "--propagation", "private"]
    if said := _failure([*enter, "true"]):
        return f"this system forbids user namespaces ({said})"
    binfmt = Path("/proc/sys/fs/binfmt_misc")
    mount = [*enter, program("mount"), "-t", "binfmt_misc", "binfmt_misc", str(binfmt)]
    if _failure(mount) and not (binfmt / "qemu-aarch64").exists():
        return (
            f"Linux {platform.release()} has no binfmt_misc in user namespaces (6.7 has), and QEMU "
            "is not registered in the system's"
        )
    return None


def _failure(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    words = done.stderr.strip().splitlines() or ["it does not say why"]
    return "" if done.returncode == 0 else words[-1][:200]


def _find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def _not_installed(packages: list[str]) -> UsageError:
    names = " ".join(packages)
    return UsageError(
        f"the emulated Pi needs {', '.join(packages)}",
        hint=f"on Debian 12, run `apt-get install --no-install-recommends {names}`",
    )
