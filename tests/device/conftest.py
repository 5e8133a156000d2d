"""The devices' tests share a board behind SSH."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ssh_server import PLAIN_SHELL, SSHD, Server, write_ssh


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if SSHD is None:
        pytest.skip("needs sshd (package openssh-server)")
    server = Server(tmp_path_factory.mktemp("ssh"), tmp_path_factory.mktemp("home").resolve())
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def server(sshd: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server, with an ``ssh`` in PATH that reads the test's configuration."""
    write_ssh(tmp_path / "bin", sshd.config)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    yield sshd
    sshd.use_shell(PLAIN_SHELL)
