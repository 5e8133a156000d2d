"""Write what a device is, as one JSON object on standard output.

Runs on the device as it is: Python 3.8 or newer and the standard library. It imports no runtime
and reads only what the system shows to any user, so it takes a moment and disturbs nothing. It
comes on standard input and leaves no file, so it shares no code with the runner.
Arguments: Pythons to look at beside the one that runs this and those in PATH.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

PYTHONS = ("python3", *(f"python3.{minor}" for minor in range(8, 16)))
ANSWER_SECONDS = 50  # for one Python: those of an emulated board on a busy machine take half of it
PACKAGES = ("numpy", "ai-edge-litert", "tflite-runtime", "onnxruntime")
# Run by every Python found; reads the installed packages' records without importing them.
QUESTION = """
import json, platform, sys
from importlib import metadata
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
print(json.dumps([sys.prefix, sys.executable, platform.python_version(),
                  [version(name) for name in sys.argv[1:]]]))
"""


def read_text(path: str) -> str | None:
    """Return the text of a file without the padding of the kernel's; None if it is not there."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return None


def read_int(path: str) -> int | None:
    """Return the whole number in a file; None if there is none."""
    text = read_text(path)
    return int(text) if text and text.lstrip("-").isdigit() else None


def cpuinfo() -> dict[str, str]:
    """Return the first core's fields, and the fields about the board at the end."""
    fields: dict[str, str] = {}
    for line in (read_text("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return fields


def frequency(name: str) -> int | None:
    """Return a frequency of the first core in Hz."""
    khz = read_int(f"/sys/devices/system/cpu/cpu0/cpufreq/{name}")
    return None if khz is None else khz * 1000


def throttled() -> str | None:
    """Return the firmware's throttle bits in hexadecimal, from the kernel or from vcgencmd."""
    bits = read_text("/sys/devices/platform/soc/soc:firmware/get_throttled")
    if bits is None and shutil.which("vcgencmd"):
        bits = (answer(ask(["vcgencmd", "get_throttled"])) or "").partition("=")[2].strip()
    return bits or None


def memory(field: str) -> int | None:
    """Return a field of /proc/meminfo in bytes."""
    for line in (read_text("/proc/meminfo") or "").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return None


def ask(command: list[str]) -> subprocess.Popen[bytes] | None:
    """Start a command; several run at the same time. None if it cannot be started."""
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return None


def answer(asked: subprocess.Popen[bytes] | None) -> str | None:
    """Return what a command printed; None if it failed."""
    if asked is None:
        return None
    try:
        out, _ = asked.communicate(timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        asked.kill()
        return None
    return out.decode("utf-8", "replace") if asked.returncode == 0 else None


def pythons() -> list[dict[str, Any]]:
    """Describe the Python that runs this, those named, and all in PATH.

    Each has its path, its version, and the versions of the packages that matter.
    """
    paths = [sys.executable, *sys.argv[1:], *(path for path in map(shutil.which, PYTHONS) if path)]
    asked = [ask([path, "-I", "-c", QUESTION, *PACKAGES]) for path in paths]
    found: dict[str, dict[str, Any]] = {}
    for text in map(answer, asked):
        if text is None:
            continue
        prefix, executable, version, versions = json.loads(text)
        packages = {n: v for n, v in zip(PACKAGES, versions) if v is not None}
        one = {"executable": executable, "version": version, "packages": packages}
        found.setdefault(prefix, one)
    return list(found.values())


def system_name() -> str:
    """Return the system's name and version for people."""
    for line in (read_text("/etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.system()


def main() -> None:
    """Write the facts."""
    cpu = cpuinfo()
    temperature = read_int("/sys/class/thermal/thermal_zone0/temp")
    facts = {
        "board": read_text("/proc/device-tree/model") or cpu.get("Model"),
        "architecture": platform.machine(),
        "bits": 8 * struct.calcsize("P"),
        "cpu": cpu.get("model name"),
        "implementer": cpu.get("CPU implementer"),
        "part": cpu.get("CPU part"),
        "cores": os.cpu_count(),
        "features": (cpu.get("Features") or cpu.get("flags") or "").split(),
        "frequency_hz": frequency("scaling_cur_freq"),
        "lowest_frequency_hz": frequency("cpuinfo_min_freq"),
        "highest_frequency_hz": frequency("cpuinfo_max_freq"),
        "governor": read_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "temperature_c": None if temperature is None else temperature / 1000,
        "throttled": throttled(),
        "memory_bytes": memory("MemTotal"),
        "memory_free_bytes": memory("MemAvailable"),
        "load_average": os.getloadavg()[0],
        "system": system_name(),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()).strip(),
        "pythons": pythons(),
    }
    print(json.dumps(facts))  # noqa: T201 - this is how it answers


if __name__ == "__main__":
    main()
