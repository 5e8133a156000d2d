"""A PostgreSQL server of the tests' own, from Debian's package."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PASSWORD = "p@ss/wörd:%41#?"  # whatever an address may trip over
QUOTED = "p%40ss%2Fw%C3%B6rd%3A%2541%23%3F"
USER = "tester"
PROGRAMS = ("initdb", "pg_isready", "postgres", "psql")


def binaries() -> Path | None:
    """The folder of the newest server that is installed, which Debian keeps off the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += Path("/usr/lib/postgresql").glob("*/bin")
    complete = [f for f in folders if all((f / program).is_file() for program in PROGRAMS)]
    return max(complete, key=lambda folder: folder.parent.name, default=None)


@dataclass
class Server:
    """A running server; over TCP it asks for the password."""

    folder: Path
    port: int
    programs: Path
    process: subprocess.Popen[bytes] | None = None

    def address(self, database: str, *, user: str = USER, password: str = QUOTED) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement as the owner of the server, over the socket."""
        command = ["psql", "-h", self.folder, "-p", self.port, "-U", USER, "-d", database]
        done = subprocess.run(
            [str(self.programs / "psql"), *map(str, command[1:]), "-qAtc", statement],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "off",
        }
        options = [f"-c{name}={value}" for name, value in settings.items()]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", *options],
                stdout=log,
                stderr=log,
                **_as_other_user(),
            )
        deadline = time.monotonic() + 60
        ready = [str(self.programs / "pg_isready"), "-qh", str(self.folder), "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            assert self.process.poll() is None, (self.folder / "log").read_text("utf-8")
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.05)

    def stop(self) -> None:
        """End it at once, with all of its connections."""
        if self.process is not None:
            self.process.send_signal(2)
            self.process.wait(60)
            self.process = None


@contextmanager
def running(programs: Path) -> Iterator[Server]:
    """Make a server in a temporary folder; the path of its socket must be short."""
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        folder = Path(name)
        secret = folder / "password"
        secret.write_text(PASSWORD, "utf-8")
        if os.geteuid() == 0:
            account = pwd.getpwnam("nobody")
            for path in (folder, secret):
                os.chown(path, account.pw_uid, account.pw_gid)
        subprocess.run(
            [
                *(programs / "initdb", "-D", folder / "data", "-U", USER, "--no-sync"),
                *("--encoding=UTF8", "--locale=C", "--auth-local=trust"),
                *("--auth-host=scram-sha-256", f"--pwfile={secret}"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            **_as_other_user(),
        )
        server = Server(folder, _free_port(), programs)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _as_other_user() -> dict[str, Any]:
    """Arguments for subprocess: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("nobody")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [], "cwd": "/"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
