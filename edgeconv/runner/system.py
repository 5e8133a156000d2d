"""The device and its state, from what the system shows to any user."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import FrameType
from typing import Any

from edgeconv.runner.request import RunnerError

# In /sys/devices/platform; the folders' names have the bus address on newer boards.
THROTTLED = "soc*/soc*:firmware/get_throttled"
_continued = 0


def read_text(path: str) -> str | None:
    """Return the text of a file without the padding of the kernel's; None if it is not there."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return None


def machine() -> dict[str, Any]:
    """Return what does not change while we measure."""
    cpu = None
    for line in (read_text("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            cpu = value.strip()
            break
    memory = (read_text("/proc/meminfo") or "").split()
    return {
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()).strip(),
        "board": read_text("/proc/device-tree/model"),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "cores_allowed": len(os.sched_getaffinity(0)),
        "memory_bytes": int(memory[1]) * 1024 if memory[:1] == ["MemTotal:"] else None,
        "governor": read_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "cpu_quota": cpu_quota(),
    }


def conditions() -> dict[str, Any]:
    """Return what may change while we measure; read before and after inferences, never during."""
    times = _cpu_times()
    frequencies, busy = [], []
    for core in sorted(os.sched_getaffinity(0)):
        text = read_text(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq")
        if text and text.isdigit():
            frequencies.append(int(text) * 1000)
            busy.append(_busy(times.get(f"cpu{core}")))
    temperature = read_text("/sys/class/thermal/thermal_zone0/temp")
    return {
        "load_average": os.getloadavg()[0],
        "frequencies_hz": frequencies,
        "temperature_c": int(temperature) / 1000 if temperature else None,
        "throttled": read_text(next(map(str, Path("/sys/devices/platform").glob(THROTTLED)), "")),
        "own_cpu_seconds": time.process_time(),
        "all_cpu_seconds": _busy(times.get("cpu")),
        "stolen_seconds": times.get("cpu", [0.0])[-1],
        "peak_rss_bytes": peak_rss(),
        "busy_seconds": busy,
        "stopped_seconds": stopped_seconds(),
        "suspended_seconds": suspended_seconds(),
        "continued": _continued,
    }


def _cpu_times() -> dict[str, list[float]]:
    """Return the seconds of all CPUs and of each in every state, the last of which is stolen."""
    tick = os.sysconf("SC_CLK_TCK")
    lines = (line.split() for line in (read_text("/proc/stat") or "").splitlines())
    return {
        line[0]: [int(ticks) / tick for ticks in line[1:9]]
        for line in lines
        if line[:1] and line[0].startswith("cpu") and len(line) > 8
    }


def _busy(seconds: list[float] | None) -> float:
    """Return the seconds of work; states 3 and 4 are idle, and 7 is stolen."""
    return 0.0 if seconds is None else sum(seconds[:3]) + sum(seconds[5:7])


def cpu_quota() -> float | None:
    """Return how many cores' time the control groups of this process may use, if limited."""
    texts = []
    for folder in _control_groups():
        texts.append((read_text(f"{folder}/cpu.max") or "").split())
        texts.append(
            [read_text(f"{folder}/cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
        )
    quotas = [
        int(text[0]) / int(text[1])
        for text in texts
        if len(text) == 2 and all(part.isdigit() and int(part) for part in text)
    ]
    return min(quotas, default=None)


def stopped_seconds() -> float:
    """Return for how long the quota stopped the control groups of this process so far."""
    most = 0.0
    for folder in _control_groups():
        words = (read_text(f"{folder}/cpu.stat") or "").split()
        figures = dict(zip(words[::2], words[1::2]))
        micros, nanos = figures.get("throttled_usec", "0"), figures.get("throttled_time", "0")
        if micros.isdigit() and nanos.isdigit():
            most = max(most, int(micros) / 1e6, int(nanos) / 1e9)
    return most


def suspended_seconds() -> float:
    """Return for how long the system was suspended so far, which no monotonic clock counts."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    # The clocks are read one after the other: in this order they differ by too little, if at all.
    with_sleep = time.clock_gettime(time.CLOCK_BOOTTIME)
    return max(0.0, with_sleep - time.clock_gettime(time.CLOCK_MONOTONIC))


def count_continuations() -> None:
    """Count from now on how often this process goes on after a signal had stopped it.

    A stop itself cannot be handled, and the inference under way takes as long as it lasts.
    """
    signal.signal(signal.SIGCONT, _note_continuation)


def _note_continuation(number: int, frame: FrameType | None) -> None:
    global _continued  # a process has its signals once
    _continued += 1


def _control_groups() -> list[str]:
    """Return the folders of this process's control groups that limit the CPU, up to the root.

    Where a hierarchy is mounted, and from which group on, only the list of mounts says: a container
    may see its own group as the root, and the two versions have different places.
    """
    groups = {}
    for line in (read_text("/proc/self/cgroup") or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers or "cpu" in controllers.split(","):
            groups["cgroup" if controllers else "cgroup2"] = path
    found = []
    for line in (read_text("/proc/self/mountinfo") or "").splitlines():
        words = line.split()
        kind = words[words.index("-") + 1] if "-" in words[:-1] else ""
        if kind == "cgroup" and "cpu" not in words[-1].split(","):
            continue
        if kind in groups:
            top = words[3].rstrip("/")  # the group that the mount shows as its root
            path = groups[kind]
            inside = path[len(top) :] if (path + "/").startswith(top + "/") else ""
            parts = Path(inside.lstrip("/")).parts
            mounted = Path(words[4])
            found += [str(mounted.joinpath(*parts[:n])) for n in range(len(parts), -1, -1)]
    return found


def watts() -> float | None:
    """Return the power of the rails that a Raspberry Pi 5's power chip measures, in watts.

    These are the rails with both a current and a voltage. USB devices and the chip's own losses are
    not among them. Other boards have no such chip: None.
    """
    if shutil.which("vcgencmd") is None:
        return None
    command = ["vcgencmd", "pmic_read_adc"]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    rails = re.findall(
        r"(\w+)_[AV] (current|volt)\(\d+\)=([\d.]+)", done.stdout.decode("ascii", "replace")
    )
    amperes = {name: float(value) for name, kind, value in rails if kind == "current"}
    volts = {name: float(value) for name, kind, value in rails if kind == "volt"}
    powers = [amperes[name] * volts[name] for name in amperes if name in volts]
    return sum(powers) if powers else None


def peak_rss() -> int | None:
    """Return the most memory that this process ever had in use, in bytes."""
    status = (read_text("/proc/self/status") or "").split()
    return int(status[status.index("VmHWM:") + 1]) * 1024 if "VmHWM:" in status else None


def is_emulated() -> bool:
    """Return whether QEMU translates this program for another processor.

    QEMU makes up what a program reads of itself under /proc/self; a thread's files are the
    kernel's own, and show QEMU's code.
    """
    maps = (read_text("/proc/thread-self/maps") or "").splitlines()
    return any(Path(line.split()[-1]).name.startswith("qemu") for line in maps if line)


def take_cores(cores: list[int]) -> None:
    """Run on these CPUs only.

    Raises:
        RunnerError: Some of them do not exist; the system itself ignores these in silence.
    """
    usable = os.sched_getaffinity(0)
    with contextlib.suppress(OSError):  # raised if none is there
        os.sched_setaffinity(0, cores)
        usable |= os.sched_getaffinity(0)
    missing = sorted(set(cores) - usable)
    if missing:
        raise RunnerError(
            "affinity",
            f"it has no CPU {', '.join(map(str, missing))}",
            f"name some of {', '.join(map(str, sorted(usable)))}",
        )
