"""What a device is, as its probe reports it, and which files can run there."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationError

from edgeconv.bundle import Artifact, Format, Target
from edgeconv.device.messages import (
    Bits,
    Celsius,
    Cores,
    Count,
    Message,
    Runtime,
    Seconds,
    Text,
)
from edgeconv.errors import MeasurementError
from edgeconv.versioned import first_problem

# Arm's part numbers (Main ID Register) of the boards' cores; implementer 0x41 is Arm itself.
ARM_PARTS = {
    "0xb76": "ARM1176",
    "0xc07": "Cortex-A7",
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd41": "Cortex-A78",
    "0xd4f": "Neoverse-V2",
}
# The kernel's names of what matters to inference (/proc/cpuinfo), and the names people use.
FEATURES = {
    "asimd": "NEON",
    "neon": "NEON",
    "asimdhp": "fp16 arithmetic",
    "asimddp": "dot product",
    "i8mm": "int8 matrix product",
    "bf16": "bf16",
    "sve": "SVE",
    "avx2": "AVX2",
    "fma": "FMA",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "amx_int8": "AMX int8",
}
PACKAGES = {
    Runtime.LITERT: "ai-edge-litert",
    Runtime.TFLITE_RUNTIME: "tflite-runtime",
    Runtime.ONNXRUNTIME: "onnxruntime",
}
OLDEST_PYTHON = (3, 8)

Word = Annotated[str, StringConstraints(max_length=64, pattern=r"^[\w.+-]*$")]


class PythonFacts(Message):
    """One Python of the device; ``packages`` are installed versions by name."""

    executable: Text
    version: Word
    packages: dict[Word, Word] = Field(max_length=100)


class DeviceFacts(Message):
    """What the probe found; None where the system does not say.

    Attributes:
        bits: 32 or 64, of the programs, which may be 32 under a 64-bit kernel.
        features: The kernel's names of the CPU's features.
        throttled: The firmware's throttle bits in hexadecimal.
        pythons: The Python that ran the probe first, then the others in PATH.
    """

    board: Text | None
    architecture: Text
    bits: Count
    cpu: Text | None
    implementer: Text | None
    part: Text | None
    cores: Cores | None
    features: tuple[Word, ...] = Field(max_length=1000)
    frequency_hz: Count | None
    lowest_frequency_hz: Count | None
    highest_frequency_hz: Count | None
    governor: Text | None
    temperature_c: Celsius | None
    throttled: Bits | None
    memory_bytes: Count | None
    memory_free_bytes: Count | None
    load_average: Seconds
    system: Text
    kernel: Text
    libc: Text
    pythons: tuple[PythonFacts, ...] = Field(max_length=100)

    @property
    def cpu_name(self) -> str:
        """The core's name, such as Cortex-A72, or what the system says instead."""
        if self.implementer == "0x41" and self.part in ARM_PARTS:
            return ARM_PARTS[self.part]
        return self.cpu or f"{self.architecture}, part {self.part or 'unknown'}"

    @property
    def useful_features(self) -> tuple[str, ...]:
        """The features that make inference faster, by the names people use."""
        return tuple(dict.fromkeys(FEATURES[name] for name in self.features if name in FEATURES))


def parse_facts(text: str, device: str) -> DeviceFacts:
    """Validate what a probe wrote.

    Raises:
        MeasurementError: It is not what the probe writes.
    """
    try:
        return DeviceFacts.model_validate_json(text)
    except ValidationError as error:
        raise MeasurementError(
            f"{device}: the probe's answer is invalid ({first_problem(error)})"
        ) from error


def no_python(device: str) -> MeasurementError:
    """Return the error of a device on which nothing can be run."""
    return MeasurementError(f"{device} has no Python", hint="install one, 3.8 or newer")


def target_of(device: str, facts: DeviceFacts) -> Target:
    """Return what an export for a device needs, of its first Python: the one that runs files.

    Raises:
        MeasurementError: It has no Python.
    """
    if not facts.pythons:
        raise no_python(device)
    python = facts.pythons[0]
    installed = [runtime for runtime in Runtime if PACKAGES[runtime] in python.packages]
    reasons = {
        runtime: _python_reason(python) or _import_reason(python, runtime) for runtime in installed
    }
    return Target(
        device=device,
        architecture=facts.architecture,
        bits=facts.bits,
        features=facts.useful_features,
        python=python.version,
        runtimes={PACKAGES[r]: python.packages[PACKAGES[r]] for r in installed if not reasons[r]},
        unusable={PACKAGES[r]: reason for r, reason in reasons.items() if reason},
    )


def why_not(artifact: Artifact, python: PythonFacts) -> str | None:
    """Return why a Python of the device cannot run a file, or None if it can."""
    unfit = _python_reason(python)
    if unfit is not None:
        return unfit
    if artifact.format is Format.ONNX:
        candidates = [Runtime.ONNXRUNTIME]
    else:
        candidates = [Runtime.LITERT, Runtime.TFLITE_RUNTIME]
    reasons = [_runtime_reason(artifact, python, runtime) for runtime in candidates]
    if None in reasons:
        return None
    installed = [
        reason
        for reason, runtime in zip(reasons, candidates, strict=True)
        if reason and PACKAGES[runtime] in python.packages
    ]
    if installed:
        return "; ".join(installed)
    return " or ".join(PACKAGES[runtime] for runtime in candidates) + " is not installed"


def _python_reason(python: PythonFacts) -> str | None:
    """Return why a Python runs no file at all, or None."""
    if _numbers(python.version)[:2] < OLDEST_PYTHON:
        return f"Python {python.version} is older than 3.8"
    if "numpy" not in python.packages:
        return "NumPy is not installed"
    return None


def _import_reason(python: PythonFacts, runtime: Runtime) -> str | None:
    """Return why an installed runtime does not import, or None."""
    numpy, package = python.packages["numpy"], PACKAGES[runtime]
    if runtime is Runtime.TFLITE_RUNTIME and _numbers(numpy)[0] >= 2:
        return f"{package} {python.packages[package]} does not import with NumPy {numpy}"
    return None


def _runtime_reason(artifact: Artifact, python: PythonFacts, runtime: Runtime) -> str | None:
    package = PACKAGES[runtime]
    version = python.packages.get(package)
    if version is None:
        return f"{package} is not installed"
    broken = _import_reason(python, runtime)
    if broken is not None:
        return broken
    lowest = re.fullmatch(r"([a-z-]+) ([\d.]+)", artifact.lowest_runtime)
    if lowest is None:
        return f"it needs a runtime {artifact.lowest_runtime}"
    # Every ai-edge-litert is newer than every tflite-runtime.
    if lowest[1] == "tflite-runtime" and runtime is Runtime.LITERT:
        return None
    if lowest[1] != package or _numbers(version) < _numbers(lowest[2]):
        return f"it needs {artifact.lowest_runtime}, {package} {version} is installed"
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3]) or (0,)
