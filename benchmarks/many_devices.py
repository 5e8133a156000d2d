"""Measure what it costs a host to measure several devices at once.

    .venv/bin/python -m benchmarks.many_devices [--devices 10] [--seconds 2]

Ten SSH servers on loopback stand for ten boards. Each device gets the same small network with one
thread. All of them share this machine's cores, so their latencies mean nothing. The script measures
the host's part: the wall time beside that of a single device, and the CPU time and memory of the
command that drives the devices.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import machine, markdown_table, publish, wall_seconds

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from support.ssh_server import Server, write_ssh  # the path comes first
from support.tiny_models import write_onnx


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--devices", type=int, default=10)
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="seconds of measurement per process"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name).resolve()
        servers = [started(folder / str(index), stack) for index in range(given.devices)]
        trust_one_user(servers)
        write_ssh(folder / "bin", servers[0].config)
        os.environ["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
        os.environ["EDGECONV_HISTORY"] = str(folder / "history.db")
        model = write_onnx(folder / "m.onnx")
        bench(model, servers[:1], given.seconds)  # sends the files and warms the caches
        single = bench(model, servers[:1], given.seconds)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        together = bench(model, servers, given.seconds)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    host = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    rows = [
        ("one device", f"{single:.1f} s"),
        (f"{given.devices} devices at once", f"{together:.1f} s"),
        ("CPU time of the host's part, per device", f"{host / given.devices:.1f} s"),
        ("largest process of the host's part", f"{after.ru_maxrss / 1024:.0f} MiB"),
    ]
    title = "# Many devices measured at once"
    table = markdown_table(("what", "figure"), rows)
    publish("many_devices", [title, "", machine("edgeconv"), "", *table])


def started(folder: Path, stack: contextlib.ExitStack) -> Server:
    home = folder / "home"
    home.mkdir(parents=True)
    server = Server(folder, home)
    server.start()
    stack.callback(server.stop)
    return server


def trust_one_user(servers: list[Server]) -> None:
    first, *others = servers
    for other in others:
        (other.folder / "authorized").write_text((first.folder / "user.pub").read_text())
        with (first.folder / "known").open("a") as known:
            known.write((other.folder / "known").read_text())


def bench(model: Path, servers: list[Server], seconds: float) -> float:
    """Run one command on the devices, and return its wall seconds."""
    devices = [part for server in servers for part in ("--device", server.name)]
    options = ["--retries", "0", "--seconds", str(seconds), "--no-history", "-q"]
    program = "from edgeconv.cli import main; main()"
    return wall_seconds([sys.executable, "-c", program, "bench", *devices, *options, str(model)])


if __name__ == "__main__":
    main()
