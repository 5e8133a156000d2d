"""A real sshd on loopback that stands in for a board, and an ssh that reaches it."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgeconv.device.emulated.server import free_port

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
PLAIN_SHELL = 'exec sh -c "$1"\n'


@dataclass
class Server:
    """An sshd, the folder it uses as home, and the client's configuration that trusts it."""

    folder: Path
    home: Path
    port: int = field(default=0)

    def __post_init__(self) -> None:
        for key in ("host", "user", "stranger"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / key]
            subprocess.run(command, check=True)
        shutil.copy(self.folder / "user.pub", self.folder / "authorized")
        self.port = free_port()
        host_key = (self.folder / "host.pub").read_text()
        (self.folder / "known").write_text(f"[127.0.0.1]:{self.port} {host_key}")
        write_config(self.config, self.folder, {})
        self.use_shell(PLAIN_SHELL)
        folder = self.folder
        (folder / "sshd_config").write_text(
            f'Port {self.port}\nListenAddress 127.0.0.1\nHostKey "{folder}/host"\nPidFile none\n'
            f'AuthorizedKeysFile "{folder}/authorized"\nStrictModes no\nUsePAM no\n'
            # Nothing of this machine's user is read; and each server is a device of its own.
            f'PermitUserRC no\nSetEnv SHLVL=1 "EDGECONV_LOCK={self.home}/lock"\n'
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 100\n"
            f"ForceCommand cd {shlex.quote(str(self.home))} && "
            f'exec sh {shlex.quote(str(folder / "shell"))} "$SSH_ORIGINAL_COMMAND"\n'
        )

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def name(self) -> str:
        return f"ssh://board:{self.port}{sys.executable}"

    def use_shell(self, script: str) -> None:
        """Let ``script`` run every command, which is its first argument."""
        (self.folder / "shell").write_text(script)

    def start(self) -> None:
        assert SSHD is not None
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")], stderr=log
            )
        wait_until(lambda: can_connect(self.port))

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def lose_power(self) -> None:
        """Kill the server and everything that it started."""
        for pid in descendants(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def runners(self) -> list[int]:
        """List our processes whose working folder is the remote home."""
        return [
            pid for pid in processes_with(".cache/edgeconv/") if working_folder(pid) == self.home
        ]

    def pythons(self) -> list[int]:
        """List those of them that measure, which are Pythons."""
        return [
            pid
            for pid in self.runners()
            if arguments(pid)[1:2] == [b"-I"] and arguments(pid)[-1].endswith(b".pyz")
        ]


def write_config(config: Path, folder: Path, changes: dict[str, str]) -> None:
    """Write the client's configuration for the host "board"; files are those in ``folder``."""
    options = {
        "HostName": "127.0.0.1",
        "IdentityFile": "user",
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": "known",
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
    } | changes
    lines = [
        f' {key} "{folder / value if (folder / value).is_file() else value}"\n'
        for key, value in options.items()
    ]
    config.write_text("Host board\n" + "".join(lines))


def write_ssh(folder: Path, config: Path) -> None:
    """Write an ``ssh`` in ``folder`` that reads ``config`` instead of the user's."""
    wrapper = folder / "ssh"
    folder.mkdir(exist_ok=True)
    ssh = f"{shutil.which('ssh', path=os.defpath)} -F {shlex.quote(str(config))}"
    wrapper.write_text(f'#!/bin/sh\nexec {ssh} "$@"\n')
    wrapper.chmod(0o755)


def can_connect(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def processes() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]


def arguments(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return []


def processes_with(text: str) -> list[int]:
    return [pid for pid in processes() if text.encode() in b"\0".join(arguments(pid))]


def working_folder(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/cwd").resolve(strict=True)
    except OSError:
        return None


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def descendants(pid: int) -> list[int]:
    """List a process and all that it started, parents first."""
    parents = {other: parent(other) for other in processes()}
    family = [pid]
    for member in family:
        family += [other for other, above in parents.items() if above == member]
    return family
