"""What the probe finds on a board, written down."""

from typing import Any

# A Raspberry Pi 4 at rest, without a Python.
PI4: dict[str, Any] = {
    "board": "Raspberry Pi 4 Model B Rev 1.4",
    "architecture": "aarch64",
    "bits": 64,
    "cpu": None,
    "implementer": "0x41",
    "part": "0xd08",
    "cores": 4,
    "features": ["fp", "asimd", "evtstrm", "crc32", "cpuid"],
    "frequency_hz": 600_000_000,
    "lowest_frequency_hz": 600_000_000,
    "highest_frequency_hz": 1_800_000_000,
    "governor": "ondemand",
    "temperature_c": 48.2,
    "throttled": "0",
    "memory_bytes": 4_000_000_000,
    "memory_free_bytes": 3_000_000_000,
    "load_average": 0.1,
    "system": "Debian GNU/Linux 12 (bookworm)",
    "kernel": "6.1.21-v8+",
    "libc": "glibc 2.36",
    "pythons": [],
}
