"""No command opens a connection that was not asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

# Python tells its audit hooks of every socket before it is used; native code is kept from the
# network by the namespace of the second test.
WATCHED = """
import sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request"):
        print("CONNECTION", event, arguments[1:], file=sys.stderr)
sys.addaudithook(watch)
from edgeconv.cli import main
main()
"""

COMMANDS = [
    ["export", "resnet8", "-o", "out", "--calibration", "random", "--calibration-size", "4"],
    ["verify", "out"],
    ["inspect", "out"],
    ["evaluate", "out", "--data", "data.npz"],
    ["bench", "out", "--runs", "1", "--seconds", "0", "--warmup", "0", "--no-history"],
    ["models"],
]


def run(prefix: list[str], folder: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3, 32, 32)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=np.zeros(4, np.int64))
    for arguments in COMMANDS:
        done = subprocess.run(
            [*prefix, sys.executable, "-c", WATCHED, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "CONNECTION" not in done.stderr


def test_python_opens_none(tmp_path: Path) -> None:
    run([], tmp_path)


def test_everything_works_without_a_network(tmp_path: Path) -> None:
    unshare = ["unshare", "--user", "--map-root-user", "--net"]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs unshare with user namespaces, to take the network away")
    run(unshare, tmp_path)
