"""A board's SSH server on loopback: start, stop, and what a client needs to reach it."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import random
import shlex
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeconv import user_folders
from edgeconv.device.emulated.boards import Board
from edgeconv.device.emulated.cache import lock
from edgeconv.device.emulated.requirements import (
    check_this_machine,
    program,
    session_obstacle,
)
from edgeconv.device.emulated.session import Settings
from edgeconv.device.emulated.sysroot import ensure_counter, ensure_sysroot
from edgeconv.device.emulated.userland import HOST_LIBRARIES, ensure_userland, environment
from edgeconv.errors import EdgeconvError, UsageError

SESSION = Path(__file__).with_name("session.py")
HOST = "emulated-pi"
START_SECONDS = 15.0
FIRST_PORT, LAST_PORT = 20_000, 32_768


def state_folder() -> Path:
    """Return the folder of the boards' keys, settings and homes."""
    return user_folders.state_folder() / "emulated"


@dataclass(frozen=True)
class Server:
    """The sshd of one board."""

    board: Board

    @property
    def folder(self) -> Path:
        """The folder of the server's keys and configuration, and of the board's home."""
        return state_folder() / self.board.name

    @property
    def client_config(self) -> Path:
        """The file for ``ssh -F``: port, key and the trusted host key of the host ``HOST``."""
        return self.folder / "ssh_config"

    @property
    def is_up(self) -> bool:
        """Whether the server runs."""
        return self._pid() is not None

    def up(self) -> None:
        """Start it unless it runs.

        Raises:
            UsageError: Packages of this machine are missing, or it forbids user namespaces.
            EdgeconvError: A download failed, or sshd does not start.
        """
        check_this_machine()
        if obstacle := session_obstacle():
            raise UsageError(f"no emulated Pi here: {obstacle}")
        settings = self._settings()
        with lock(state_folder() / f"{self.board.name}.lock"):
            self._prepare(settings)
            port = self._port()
            if self._pid() is not None and port is not None:
                if self._config.read_text(encoding="utf-8") == self._config_text(port):
                    return
                self._stop()
            self._start()

    def down(self) -> bool:
        """Stop it; return whether it ran. Sessions that are open end when their clients do."""
        with lock(state_folder() / f"{self.board.name}.lock"):
            return self._stop()

    @property
    def _config(self) -> Path:
        return self.folder / "sshd_config"

    def _settings(self) -> Settings:
        architecture = self.board.architecture
        return Settings(
            root=str(ensure_userland(architecture)),
            sysroot=str(ensure_sysroot(self.board)),
            home=str(self.folder / "home"),
            cpu=self.board.cpu.value,
            elf_class=architecture.elf_class,
            elf_machine=architecture.elf_machine,
            interpreter=program(f"{architecture.qemu}-static"),
            qemu=program(architecture.qemu),
            counter=str(ensure_counter()),
            host_libraries=HOST_LIBRARIES,
            python=environment(architecture, None),
        )

    def _prepare(self, settings: Settings) -> None:
        """Make the keys, once, and the settings that every session reads anew."""
        (self.folder / "home").mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        for name in ("host_key", "user_key"):
            if not (self.folder / name).exists():
                keygen = [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", HOST]
                subprocess.run([*keygen, "-f", self.folder / name], check=True)
        text = json.dumps(asdict(settings), indent=1)
        (self.folder / "session.json").write_text(text, encoding="utf-8")

    def _config_text(self, port: int) -> str:
        session = shlex.join(
            [sys.executable, "-I", str(SESSION), str(self.folder / "session.json")]
        )
        options = {
            "ListenAddress": f"127.0.0.1:{port}",
            "HostKey": self._quoted("host_key"),
            "PidFile": self._quoted("sshd.pid"),
            "AuthorizedKeysFile": self._quoted("user_key.pub"),
            "AllowUsers": _user(),
            "AuthenticationMethods": "publickey",
            "PermitRootLogin": "prohibit-password",
            "UsePAM": "no",
            "StrictModes": "no",
            "DisableForwarding": "yes",
            "PrintMotd": "no",
            # The shell that starts the session must not read the user's own startup files: bash
            # does so in a session of SSH, unless another shell has started it.
            "PermitUserRC": "no",
            "SetEnv": "SHLVL=1",
            "Subsystem": "sftp /usr/lib/openssh/sftp-server",
            "ForceCommand": session,
        }
        return "".join(f"{key} {value}\n" for key, value in options.items())

    def _quoted(self, name: str) -> str:
        """Return a file of the folder, as OpenSSH reads it where there are spaces."""
        return f'"{self.folder / name}"'

    def _start(self) -> None:
        port = free_port()
        self._config.write_text(self._config_text(port), encoding="utf-8")
        host_key = (self.folder / "host_key.pub").read_text(encoding="utf-8")
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}", encoding="utf-8")
        client = {
            "HostName": "127.0.0.1",
            "Port": port,
            "User": _user(),
            "IdentityFile": self._quoted("user_key"),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self._quoted("known_hosts"),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
        }
        lines = "".join(f" {key} {value}\n" for key, value in client.items())
        self.client_config.write_text(f"Host {HOST}\n{lines}", encoding="utf-8")
        log = self.folder / "sshd.log"
        log.unlink(missing_ok=True)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on it
        subprocess.run([program("sshd"), "-f", self._config, "-E", log], check=False)
        deadline = time.monotonic() + START_SECONDS
        while self._pid() is None or not _answers(port):
            if time.monotonic() > deadline:
                said = log.read_text(encoding="utf-8", errors="replace").splitlines()
                raise EdgeconvError(f"sshd does not start: {said[-1] if said else 'no word'}")
            time.sleep(0.05)

    def _stop(self) -> bool:
        pid = self._pid()
        if pid is None:
            return False
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + START_SECONDS
        while self._pid() is not None and time.monotonic() < deadline:
            time.sleep(0.02)
        return True

    def _pid(self) -> int | None:
        """Return the process of our sshd if it runs; the number in an old file may be reused."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.folder / "sshd.pid").read_text())
            if os.fsencode(self._config) in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        return None

    def _port(self) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            first = self._config.read_text(encoding="utf-8").splitlines()[0]
            return int(first.rpartition(":")[2])
        return None


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def free_port() -> int:
    """Return a port of loopback that no program listens on.

    It is not one of those that the system gives to outgoing connections: until the server binds it,
    any of them could take it.
    """
    while True:
        port = random.randrange(FIRST_PORT, LAST_PORT)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
