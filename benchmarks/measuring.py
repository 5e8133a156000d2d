"""Helpers of the benchmark scripts: fresh processes, medians, the machine, Markdown."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from edgeconv.units import format_duration

RESULTS = Path(__file__).parent / "results"


def wall_seconds(command: Sequence[str]) -> float:
    """Run a process, drop its output, and return the seconds from its start to its end."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def median_and_range(seconds: Sequence[float]) -> str:
    """Format the median, minimum and maximum, as in "12.1 ms [11.9, 13.0]"."""
    return format_duration(statistics.median(seconds), interval=(min(seconds), max(seconds)))


def machine(*packages: str) -> str:
    """Describe the machine and the versions in one line; the load average shows other work."""
    cores = len(os.sched_getaffinity(0))
    tools = ", ".join(f"{package} {version(package)}" for package in packages)
    python = platform.python_version()
    load = os.getloadavg()[0]
    return f"{_processor()}, {cores} cores, load average {load:.1f}; Python {python}; {tools}."


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def publish(name: str, lines: Iterable[str]) -> None:
    """Print the lines and write them to ``results/NAME.md``."""
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
