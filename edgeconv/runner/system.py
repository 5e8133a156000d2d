"""The device and its state, from what the system shows to any user."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from edgeconv.runner.request import RunnerError

# In /sys/devices/platform; the folders' names have the bus address on newer boards.
THROTTLED = "soc*/soc*:firmware/get_throttled"


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
    }


def conditions() -> dict[str, Any]:
    """Return what may change while we measure; read before and after inferences, never during."""
    frequencies = []
    for core in sorted(os.sched_getaffinity(0)):
        text = read_text(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq")
        if text and text.isdigit():
            frequencies.append(int(text) * 1000)
    temperature = read_text("/sys/class/thermal/thermal_zone0/temp")
    ticks = [int(t) for t in (read_text("/proc/stat") or "cpu").split("\n")[0].split()[1:9]]
    tick = os.sysconf("SC_CLK_TCK")
    user, nice, system, _, _, irq, soft_irq, steal = ticks or [0] * 8
    return {
        "load_average": os.getloadavg()[0],
        "frequencies_hz": frequencies,
        "temperature_c": int(temperature) / 1000 if temperature else None,
        "throttled": read_text(next(map(str, Path("/sys/devices/platform").glob(THROTTLED)), "")),
        "own_cpu_seconds": time.process_time(),
        "all_cpu_seconds": (user + nice + system + irq + soft_irq) / tick,
        "stolen_seconds": steal / tick,
        "peak_rss_bytes": peak_rss(),
    }


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
