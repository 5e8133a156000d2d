"""Tries packages in processes of their own, and explains why one does not work."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

SCRIPT = Path(__file__).with_name("trial_script.py")
SECONDS = 120.0  # torch takes half a minute from the cold SD card of a small board
_SHOWN = 200  # characters of what a package says


@dataclass(frozen=True)
class Fault:
    """Why a package does not work.

    Attributes:
        what: What is wrong, after the name of the package.
        hint: What to do about it.
        missing: Whether it is simply not there.
    """

    what: str
    hint: str
    missing: bool = False


def try_out(module: str, package: str, *, isolated: bool = False) -> Fault | None:
    """Import a module in a process of its own, and have it do a little.

    Args:
        module: The module.
        package: The name of its distribution, for messages.
        isolated: Whether to import as measurements do (``python -I``), and not as this process.

    Returns:
        What is wrong; None if it works.
    """
    own = json.dumps([os.fspath(Path(each).absolute()) for each in sys.path])
    folders = () if isolated else (own,)
    options = ("-B", "-I") if isolated else ("-B",)  # nothing is written, caches of code included
    command = [sys.executable, *options, os.fspath(SCRIPT), module, *folders]
    # ONNX Runtime 1.31 and later connects to a telemetry host when it is imported without this.
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return Fault(f"does not import within {SECONDS:g} s", "try again when the machine is idle")
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        return _died(done.returncode, done.stderr.decode("utf-8", "replace"), package)
    if answer["missing"]:
        return Fault("is not installed", f"pip install {package}", missing=True)
    return explain(answer["error"], package) if answer["error"] else None


def explain(said: str, package: str) -> Fault:
    """What is wrong with a package that is installed, by the text of its exception."""
    if wanted := re.search(r"version `(GLIBC(?:XX)?_[\d.]+)' not found", said):
        return Fault(
            f"was built for a newer system: it needs {wanted[1]}, and here is "
            f"{' '.join(platform.libc_ver()).strip()}",
            f"install an older release of {package}, or take a newer system",
        )
    if re.search(r"torchvision::|Couldn't load custom C\+\+ ops", said):
        fault = f"was not built for the installed torch {_version_of('torch')}"
        if package != "torchvision":  # which it imports
            fault = f"does not import, because torchvision {_version_of('torchvision')} {fault}"
        return Fault(
            fault,
            "install both from the same package index, in one command",
        )
    if re.search(r"_ARRAY_API|numpy\.core\.multiarray|compiled using NumPy 1", said):
        return Fault(
            f"does not work with NumPy {_version_of('numpy')}, because it was built for NumPy 1",
            f"install a newer release of {package}; if there is none, put it with 'numpy<2' into "
            "an environment of its own",
        )
    if absent := re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", said):
        needed = absent[1].partition(".")[0]
        return Fault(f"needs {needed}, which is not installed", f"pip install {package}")
    if library := re.search(r"(lib[\w.+-]+): cannot open shared object file", said):
        return Fault(
            f"needs the library {library[1]}, which this system lacks",
            f"install the system's package that has {library[1]}",
        )
    words = " ".join(said.split())[:_SHOWN]
    return Fault(f"does not work: {words}", f"pip install --force-reinstall {package}")


def _died(status: int, said: str, package: str) -> Fault:
    if status != -signal.SIGILL:
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        last = (said.strip().splitlines() or ["it does not say why"])[-1]
        return Fault(
            f"ends the process that imports it ({how}: {last[:_SHOWN]})",
            f"pip install --force-reinstall {package}, or another release of it",
        )
    return Fault(
        "uses instructions that this processor lacks", f"install another build of {package}"
    )


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(none)"
