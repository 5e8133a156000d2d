"""Measure how long a probe over SSH takes, and the start of an emulated Pi.

    .venv/bin/python -m benchmarks.device_times [--board pi4] [--runs 5]

The SSH server is on loopback; a real link adds the round trips of one connection. The board starts
once "from nothing", which downloads packages and wheels, and once from its cache.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import machine, markdown_table, median_and_range, publish, wall_seconds

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from support.ssh_server import Server, write_ssh  # the path comes first

PROGRAM = (sys.executable, "-c", "from edgeconv.cli import main; main()")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--board", default="pi4")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    rows = [("one `devices probe` over SSH", median_and_range(probes(given.runs)))]
    with tempfile.TemporaryDirectory() as name:
        for variable in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
            os.environ[variable] = str(Path(name) / variable)
        for what in ("from nothing", "from the cache"):
            rows.append((f"devices up {given.board}, {what}", median_and_range([up(given.board)])))
            wall_seconds([*PROGRAM, "devices", "down", given.board])
    title = "# Time to probe a device and to start an emulated one"
    table = markdown_table(("what", "time"), rows)
    publish("device_times", [title, "", machine("edgeconv"), "", *table])


def probes(runs: int) -> list[float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        home = folder / "home"
        home.mkdir()
        server = Server(folder, home)
        server.start()
        try:
            path = os.environ["PATH"]
            write_ssh(folder / "bin", server.config)
            os.environ["PATH"] = f"{folder / 'bin'}:{path}"
            command = [*PROGRAM, "devices", "probe", server.name]
            wall_seconds(command)  # warms the caches
            return [wall_seconds(command) for _ in range(runs)]
        finally:
            os.environ["PATH"] = path
            server.stop()


def up(board: str) -> float:
    return wall_seconds([*PROGRAM, "devices", "up", board])


if __name__ == "__main__":
    main()
