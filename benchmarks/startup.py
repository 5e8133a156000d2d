"""Measure how long ``edgeconv --help`` takes, beside a Python process that does nothing.

.venv/bin/python -m benchmarks.startup
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.measuring import machine, markdown_table, median_and_range, publish, wall_seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50, help="runs of each command, in turns")
    arguments = parser.parse_args()
    commands = {
        "`edgeconv --help`": [str(Path(sys.executable).with_name("edgeconv")), "--help"],
        "`python -c pass`": [sys.executable, "-c", "pass"],
    }
    for command in commands.values():
        wall_seconds(command)  # fills the file system's caches
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(arguments.runs):
        for name, command in commands.items():
            seconds[name].append(wall_seconds(command))
    rows = [[name, median_and_range(times)] for name, times in seconds.items()]
    publish(
        "startup",
        [
            "# Start time of the command line",
            "",
            f"Median wall time [minimum, maximum] of {arguments.runs} runs.",
            machine("edgeconv", "click"),
            "",
            *markdown_table(["command", "wall time"], rows),
        ],
    )


if __name__ == "__main__":
    main()
