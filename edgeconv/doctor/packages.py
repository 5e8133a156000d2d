"""Looks at packages: releases, whether they work, and which cannot live together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import metadata

from edgeconv.doctor.finding import Finding, Section, State
from edgeconv.doctor.requirements import (
    USES,
    Requirement,
    installed_version,
    requirements,
)
from edgeconv.doctor.trials import try_out

# The runtimes by their distributions, the needed ones first.
RUNTIMES = {
    "onnxruntime": "ONNX Runtime",
    "ai-edge-litert": "LiteRT",
    "tflite-runtime": "tflite-runtime",
}
# Builds of ONNX Runtime, which all install the same module over each other.
BUILDS = (
    *("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
    *("onnxruntime-qnn", "onnxruntime-training", "ort-nightly"),
)


def packages() -> Iterator[Finding]:
    """Look at all packages, in the order of sections; each is tried in a process of its own."""
    try:
        needs = requirements()
    except metadata.PackageNotFoundError:
        hint = "install it with pip; a folder on the Python path does not say what it needs"
        yield Finding(Section.PACKAGES, "edgeconv", State.ERROR, "is not installed", hint)
        return
    own = [each for each in needs if not each.extra]
    looks: list[Callable[[], Finding]] = [
        *(partial(_package, each) for each in own if each.package not in RUNTIMES),
        *(partial(_runtime, each) for each in own if each.package in RUNTIMES),
        *_old_runtime(),
        *_builds(),
        *(partial(_extra, each) for each in needs if each.extra),
    ]
    # Several at a time, because each mostly waits for the disk; torch alone takes seconds.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        yield from threads.map(lambda look: look(), looks)


def _package(need: Requirement, section: Section = Section.PACKAGES) -> Finding:
    """Look at a package that edgeconv does not work without."""
    version, name = need.installed, RUNTIMES.get(need.package, need.package)
    fault = try_out(need.module, need.package)
    if fault is not None:
        what = fault.what if fault.missing or version is None else f"{version} {fault.what}"
        hint = f"pip install '{need}'" if fault.missing else fault.hint
        return Finding(section, name, State.ERROR, what, hint)
    if not need.suffices:
        found = f"{version or 'an unknown release'}; edgeconv needs {need.lowest} or newer"
        return Finding(section, name, State.ERROR, found, f"pip install '{need}'")
    return Finding(section, name, State.OK, str(version))


def _runtime(need: Requirement) -> Finding:
    """Look at a runtime that edgeconv does not work without: it has to run a model."""
    finding = _package(need, Section.RUNTIMES)
    if finding.state is not State.OK:
        return finding
    if try_out(need.module, need.package, isolated=True) is not None:
        return Finding(
            finding.section,
            finding.name,
            State.WARNING,
            f"{finding.found} runs a model, but not where files are measured: it is installed in "
            "the user's folder or on PYTHONPATH, which measurements leave out",
            f"pip install --ignore-installed '{need}' in a virtual environment",
        )
    return Finding(finding.section, finding.name, State.OK, f"{finding.found} runs a model")


def _old_runtime() -> Iterator[Callable[[], Finding]]:
    """Look at tflite-runtime, which is for old boards, if it is here."""
    package = "tflite-runtime"
    version = installed_version(package)

    def look() -> Finding:
        fault = try_out("tflite_runtime", package)
        if fault is None:
            return Finding(Section.RUNTIMES, package, State.OK, f"{version} runs a model")
        hint = (
            "edgeconv does not need it here: remove it, or put it with 'numpy<2' into an "
            "environment of its own and measure with --device local:PYTHON"
        )
        found = f"{version} {fault.what}"
        return Finding(Section.RUNTIMES, package, State.WARNING, found, hint)

    if version is not None:
        yield look


def _builds() -> Iterator[Callable[[], Finding]]:
    """Find several builds of ONNX Runtime, of which the one that was installed last counts."""
    found = [each for each in BUILDS if installed_version(each) is not None]
    if len(found) > 1:
        yield lambda: Finding(
            Section.RUNTIMES,
            "builds of ONNX Runtime",
            State.WARNING,
            f"{' and '.join(found)} overwrite each other's files",
            f"pip uninstall {' '.join(found)}, and install the one that you want again",
        )


def _extra(need: Requirement) -> Finding:
    """Look at the package of an extra."""
    name, install = need.package, f"pip install 'edgeconv[{need.extra}]'"
    use = f"for {USES[need.extra]}"
    if need.installed is None:
        return Finding(Section.EXTRAS, name, State.OPTIONAL, f"is not installed; {use}", install)
    fault = try_out(need.module, need.package)
    if fault is not None:
        found = f"{need.installed} {fault.what}; {use}"
        return Finding(Section.EXTRAS, name, State.WARNING, found, fault.hint)
    if not need.suffices:
        found = f"{need.installed} is older than {need.lowest}; {use}"
        return Finding(Section.EXTRAS, name, State.WARNING, found, install)
    return Finding(Section.EXTRAS, name, State.OK, f"{need.installed}, {use}")
