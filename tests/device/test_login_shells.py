"""The login shell of a device is its user's: it may be any, and print what it likes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgeconv.device import RunRequest, open_device
from edgeconv.device.messages import Done
from edgeconv.device.ssh import SshDevice
from edgeconv.errors import MeasurementError
from edgeconv.limits import LimitExceeded
from support.ssh_server import PLAIN_SHELL, Server
from support.tiny_models import write_tflite

pytestmark = pytest.mark.device

BANNER = "echo 'Welcome to Pi!'; echo '{\"event\": \"start\"}'; printf 'no end of line'; "
SHELLS = ("bash", "dash", "zsh", "fish", "csh", "tcsh")
REQUEST = {"warmup_seconds": 0.0, "warmup_runs": 1, "min_runs": 5, "min_seconds": 0.0}


def measures(server: Server, tmp_path: Path) -> None:
    device = open_device(server.name)
    assert isinstance(device, SshDevice)
    assert device.probe().pythons
    model = write_tflite(tmp_path / "m.tflite")
    with device.lock(60) as lock:
        lock.renew()
        *_, last = device.run(RunRequest(model=device.place(model), **REQUEST))  # type: ignore[arg-type]
    assert isinstance(last, Done)
    with pytest.raises(MeasurementError, match="last words: who's there"):
        device.shell('echo "who\'s there" >&2; exit 3')


def test_one_that_prints(server: Server, tmp_path: Path) -> None:
    server.use_shell(BANNER + PLAIN_SHELL)
    measures(server, tmp_path)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_kind(server: Server, tmp_path: Path, shell: str) -> None:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"needs {shell}")
    server.use_shell(f'exec {found} -c "$1"\n')
    measures(server, tmp_path)


def test_one_that_never_stops(server: Server) -> None:
    server.use_shell("exec yes\n")
    with pytest.raises(LimitExceeded, match=r"sent 1\.0. MB, and the limit is 1\.00 MB"):
        open_device(server.name).probe()
