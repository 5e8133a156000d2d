"""What strace saw a program write."""

from __future__ import annotations

import os
import re
import site
import sysconfig
from pathlib import Path

WATCHED_CALLS = (
    "network,open,openat,creat,mkdir,mkdirat,mknod,mknodat,symlink,symlinkat,link,linkat,"
    "rename,renameat,renameat2,truncate"
)
CREATES = re.compile(
    r'(?:openat\([^"]*"(?P<opened>[^"]*)", [^)]*(?:O_WRONLY|O_RDWR|O_CREAT)'
    r'|(?:mkdir|mkdirat|creat|mknod|symlink|link|rename|truncate)\w*\([^"]*"(?P<made>[^"]*)"'
    r'(?:, [^"]*"(?P<target>[^"]*)")?)'
)
# Bytecode that Python itself keeps beside the modules of the installed packages.
BYTECODE = (*sysconfig.get_paths().values(), *site.getsitepackages())
# Where nothing stays: devices, the kernel's own files, and memory.
NOWHERE = ("/dev/", "/proc/", "/sys/", "/memfd:")


def written(calls: str, folder: Path) -> set[Path]:
    """The files that the calls opened for writing or made, as far as the kernel let them."""
    found = set()
    for line in calls.splitlines():
        match = CREATES.search(line)
        if match is None or " = -1 " in line:
            continue
        name = match["target"] or match["opened"] or match["made"]
        bytecode = name.startswith(BYTECODE) and "/__pycache__/" in name and ".pyc" in name
        if not name.startswith(NOWHERE) and not bytecode:
            found.add(Path(os.path.normpath(folder / name)))
    return found
