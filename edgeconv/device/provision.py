"""Give a device the runtimes: a virtual environment in its home.

This machine downloads the wheels. The device needs Python and SSH, but neither pip nor a way to
the internet.
"""

from __future__ import annotations

import logging
import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeconv.device.facts import OLDEST_PYTHON, DeviceFacts, PythonFacts, no_python
from edgeconv.device.pip import pip
from edgeconv.device.ssh import SshDevice
from edgeconv.errors import MeasurementError
from edgeconv.runner import ENVIRONMENT
from edgeconv.scratch import temporary_folder

logger = logging.getLogger(__name__)

FOLDER = "~/.local/share/edgeconv/runtimes"
IMPORTS = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "onnxruntime": "onnxruntime",
    "tflite-runtime": "tflite_runtime.interpreter",
}
# manylinux tags have the oldest glibc that a wheel runs on: 2.17 is manylinux2014.
OLDEST_GLIBC = 17


@dataclass(frozen=True)
class Plan:
    """What a device gets.

    Attributes:
        python: The Python that the environment is made with.
        packages: The requirement for pip, by the package's name.
        dependencies: Whether pip fetches the dependencies of the packages.
        system: Whether the environment sees the system's NumPy.
        platforms: Tags of the wheels that run there, newest first.
    """

    python: PythonFacts
    packages: dict[str, str]
    dependencies: bool
    system: bool
    platforms: tuple[str, ...]


def plan(facts: DeviceFacts, device: str) -> Plan:
    """Choose what the device's first Python can run.

    Raises:
        MeasurementError: There are no runtimes for it.
    """
    if not facts.pythons:
        raise no_python(device)
    python = facts.pythons[0]
    version = tuple(int(part) for part in python.version.split(".")[:2])
    libc = re.fullmatch(r"glibc 2\.(\d+)", facts.libc)
    if version < OLDEST_PYTHON or libc is None:
        raise MeasurementError(
            f"{device}: the runtimes need Python 3.8 and glibc, there are Python {python.version} "
            f"and {facts.libc or 'another C library'}",
            hint="name another Python or use another system",
        )
    glibc = int(libc[1])
    if facts.bits == 64:
        machine = facts.architecture
        packages = {name: name for name in ("numpy", "ai-edge-litert", "onnxruntime")}
        tags = [f"manylinux_2_{n}_{machine}" for n in range(glibc, OLDEST_GLIBC - 1, -1)]
        return Plan(python, packages, True, False, (*tags, f"manylinux2014_{machine}"))
    if facts.architecture not in ("armv7l", "armv8l", "aarch64"):
        raise MeasurementError(
            f"{device}: no runtime exists for 32-bit programs on {facts.architecture}",
            hint="use an ARMv7 or newer board",
        )
    if "numpy" not in python.packages:
        raise MeasurementError(
            f"{device} has no NumPy, and for 32-bit Arm it comes only from the system",
            hint="install it there with `sudo apt-get install python3-numpy`",
        )
    tags = [f"manylinux_2_{n}_armv7l" for n in range(glibc, OLDEST_GLIBC - 1, -1)]
    return Plan(python, {"tflite-runtime": "tflite-runtime==2.14.0"}, False, True, tuple(tags))


def provision(device: SshDevice, say: Callable[[str], None] = logger.info) -> SshDevice:
    """Make the environment and return the device under its Python.

    Args:
        device: The device, under the Python to make the environment with.
        say: Gets a line at each step.

    Raises:
        MeasurementError: The device cannot be reached, has nothing to run the runtimes, no wheels
            exist for it, or a runtime does not import there.
        UsageError: The Python of this machine has no pip.
    """
    pip()  # before the device is asked
    say(f"looking at {device.name}")
    planned = plan(device.probe(), device.name)
    with temporary_folder() as folder:
        say(
            f"downloading {', '.join(planned.packages.values())} for Python "
            f"{planned.python.version}, {planned.platforms[0]}"
        )
        wheels = _download(planned, folder, device.name)
        say(f"sending {len(wheels)} wheels")
        placed = [device.place(wheel) for wheel in wheels]
    say(f"making {FOLDER}")
    kind = "system" if planned.system else "own"
    command = [planned.python.executable, "-I", "-", FOLDER, kind, *placed]
    python = device.shell(shlex.join(command), ENVIRONMENT).strip().splitlines()[-1]
    imports = "; ".join(f"import {IMPORTS[name]}" for name in planned.packages if name in IMPORTS)
    device.shell(f"{shlex.quote(python)} -I -c {shlex.quote(imports)}")
    device.shell(f"rm -f {shlex.join(placed)}")
    return device.under(python)


def _download(planned: Plan, folder: Path, device: str) -> list[Path]:
    version = ".".join(planned.python.version.split(".")[:2])
    tag = "cp" + version.replace(".", "")
    command = [
        *(*pip(), "download", "--quiet", "--disable-pip-version-check"),
        *("--dest", str(folder), "--only-binary=:all:", "--implementation", "cp"),
        *("--python-version", version, "--abi", tag, "--abi", "abi3", "--abi", "none"),
        *(argument for platform in planned.platforms for argument in ("--platform", platform)),
        *([] if planned.dependencies else ["--no-deps"]),
        *planned.packages.values(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        logger.debug("%s", done.stderr)
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        words = errors[-1].removeprefix("ERROR: ") if errors else "pip does not say why"
        raise MeasurementError(
            f"{device}: pip found no runtimes for Python {version} on {planned.platforms[0]}: "
            f"{words[:200]}"
        )
    return sorted(folder.glob("*.whl"))
