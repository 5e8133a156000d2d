"""`edgeconv doctor` in an environment with many faults, and its parts in single ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgeconv.cli import cli, doctor_command
from edgeconv.device import open_device
from edgeconv.doctor import Finding, Section, State
from edgeconv.doctor.requirements import USES, _read, requirements
from edgeconv.doctor.system import boards, folders, system
from edgeconv.doctor.trials import explain, try_out
from edgeconv.errors import MeasurementError

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    tomllib = None  # type: ignore[assignment]

ROOT = Path(__file__).parents[2]

# Modules that stand in front of the real ones, and what they do when they are imported.
BROKEN = {
    "torch": "raise OSError('libgomp.so.1: cannot open shared object file: No such file')",
    "torchvision": "raise RuntimeError('operator torchvision::nms does not exist')",
    "onnx_ir": 'raise ImportError("libm.so.6: version `GLIBC_2.99\' not found (required by x)")',
    "safetensors": "raise ModuleNotFoundError(name='safetensors')",
    "flatbuffers": "import os, signal\nos.kill(os.getpid(), signal.SIGILL)",
    "jinja2": "import os\nprint('not for us', flush=True)\nos._exit(3)",
    # The doctor itself has to do without these.
    "pydantic": "import no_such_core",
    "rich": "raise ImportError('broken')",
}


def make_distribution(folder: Path, name: str, version: str) -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The findings in an environment whose packages are broken or come by PYTHONPATH."""
    folder = tmp_path_factory.mktemp("sick")
    for name, code in BROKEN.items():
        (folder / "broken" / name).mkdir(parents=True)
        (folder / "broken" / name / "__init__.py").write_text(code)
    make_distribution(folder / "broken", "torchvision", "0.24.0")
    make_distribution(folder / "broken", "onnxruntime-gpu", "1.22.0")
    make_distribution(folder / "broken", "numpy", "1.20.0")
    venv = [sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(folder / "bare")]
    subprocess.run(venv, check=True)
    (folder / "state").write_text("a file")
    (folder / "config" / "edgeconv").mkdir(parents=True)
    (folder / "config" / "edgeconv" / "devices.toml").write_text("[devices]\npi = 3\n")
    # Not that of edgeconv, whose metadata may lie in the work tree.
    site = Path(metadata.distribution("click").locate_file("")).absolute()
    done = subprocess.run(
        [folder / "bare" / "bin" / "python", "-m", "edgeconv", "doctor", "--json"],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (folder / "broken", ROOT, site))),
            "PATH": "",
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    assert document["schema_version"] == 1
    assert document["works"] is False
    assert not any("\n" in each["found"] for each in document["findings"])
    return {each["name"]: each for each in document["findings"]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "state", "found", "hint"),
    [
        ("torch", "error", "needs the library libgomp.so.1", "package that has libgomp.so.1"),
        ("onnx-ir", "error", "it needs GLIBC_2.99, and here is", "older release of onnx-ir"),
        ("safetensors", "error", "is not installed", "pip install 'safetensors>="),
        ("flatbuffers", "error", "instructions that this processor lacks", "another build"),
        ("jinja2", "error", "ends the process that imports it (status 3", "jinja2"),
        ("pydantic", "error", "needs no_such_core", "pip install pydantic"),
        ("rich", "error", "ImportError: broken", "pip install"),
        ("numpy", "error", "1.20.0; edgeconv needs 1.26 or newer", "pip install 'numpy>=1.26'"),
        ("torchvision", "warning", "not built for the installed torch", "the same package index"),
        ("builds of ONNX Runtime", "warning", "onnxruntime and onnxruntime-gpu", "uninstall"),
        ("LiteRT", "warning", "runs a model, but not where files are measured", "virtual env"),
        ("timm", "optional", "is not installed; for networks", "pip install 'edgeconv[timm]'"),
        ("OpenSSH client", "optional", "is not installed; for", "openssh-client"),
        ("emulated boards", "optional", "not looked at: No module", "mend the errors"),
        ("devices.toml", "optional", "not looked at: No module", "mend the errors"),
        ("state", "error", "is not a folder", "XDG_STATE_HOME"),
        ("onnx", "ok", "", ""),
        ("click", "ok", "", ""),
    ],
)
def test_every_fault_is_found_and_has_a_hint(
    sick: dict[str, dict[str, Any]], name: str, state: str, found: str, hint: str
) -> None:
    if name == "timm" and sick[name]["state"] == "ok":
        pytest.skip("timm is installed")
    assert sick[name]["state"] == state, sick[name]
    assert found in sick[name]["found"]
    assert hint in sick[name]["hint"]


@pytest.mark.slow
def test_only_what_is_well_has_no_hint(sick: dict[str, dict[str, Any]]) -> None:
    for finding in sick.values():
        assert bool(finding["hint"]) is (finding["state"] != "ok"), finding


def test_the_packages_of_this_environment_work() -> None:
    assert try_out("onnxruntime", "onnxruntime", isolated=True) is None
    assert try_out("ai_edge_litert", "ai-edge-litert") is None


def test_tflite_runtime_beside_numpy_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It imports, and only a model shows that it does not work."""
    old = Path(os.environ.get("EDGECONV_TFLITE214", ""))
    places = [*old.parents[1].glob("lib/python3*/site-packages/tflite_runtime")] if old.name else []
    ours = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = [each for each in places if ours in each.parts]
    if not found or metadata.version("numpy").startswith("1."):
        pytest.skip(f"EDGECONV_TFLITE214 names no {ours} with tflite_runtime, or NumPy is 1.x")
    (tmp_path / "tflite_runtime").symlink_to(found[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    fault = try_out("tflite_runtime", "tflite-runtime")
    assert fault is not None
    assert fault.what.startswith("does not work with NumPy 2")
    assert "numpy<2" in fault.hint


def test_what_is_not_known_is_quoted_on_one_short_line() -> None:
    fault = explain("ValueError: " + "a\nb " * 1000, "x")
    assert "ValueError: a b" in fault.what
    assert len(fault.what) < 250


def test_a_command_without_its_packages_leads_to_the_doctor(tmp_path: Path) -> None:
    (tmp_path / "pydantic.py").write_text("import no_such_core")
    done = subprocess.run(
        [sys.executable, "-m", "edgeconv", "history"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert error == "error: a package cannot be imported: No module named 'no_such_core'"
    assert hint.startswith("hint: `edgeconv doctor` says what does not work here")


@pytest.mark.skipif(tomllib is None, reason="tomllib is in the standard library since 3.11")
def test_all_requirements_are_read_and_all_extras_have_a_use() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(USES) | {"dev", "docs", "realnets"} == set(project["optional-dependencies"])
    for line in project["dependencies"]:
        if "python_version" not in line:
            read = _read(line)
            assert read is not None
            assert f"{read.package}>={read.lowest}" == line
    assert all(each.lowest for each in requirements())


def test_a_requirement_of_older_pythons_is_none_here() -> None:
    assert _read('tomli>=2; python_version < "3.8"') is None
    needed = _read('psycopg[binary]>=3.2; extra == "postgresql"')
    assert needed is not None
    assert (needed.package, needed.lowest, needed.extra) == ("psycopg", "3.2", "postgresql")


def about_ssh(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Finding:
    """What is found of an ``ssh`` that is a script, which stays the one in the path."""
    (folder / "ssh").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return next(each for each in boards() if each.name == "OpenSSH client")


def test_another_program_called_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = about_ssh("echo Dropbear v2022.83", tmp_path, monkeypatch)
    assert ssh.state is State.WARNING
    assert "is another program" in ssh.found


def test_openssh_refuses_a_user_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that runs as the number of a user of the host."""
    script = "echo No user exists for uid 12345 >&2\nexit 255"
    ssh = about_ssh(script, tmp_path, monkeypatch)
    assert ssh.state is State.WARNING
    assert "does not run as a user without a name" in ssh.found
    assert "mount the host's /etc/passwd" in str(ssh.hint)
    with pytest.raises(MeasurementError, match="does not run as a user without a name"):
        open_device("ssh://board").probe()


def test_names_of_devices_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "edgeconv").mkdir()
    (tmp_path / "edgeconv" / "devices.toml").write_text("[devices]\npi = 3\n")
    names = next(each for each in boards() if each.name == "devices.toml")
    assert names.state is State.ERROR
    assert "'pi' is not a name with an address" in names.found


def test_folders_are_looked_at_and_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    findings = {each.name: each for each in folders()}
    assert findings["cache"].state in (State.OK, State.WARNING)
    assert str(tmp_path / "cache" / "edgeconv") in findings["cache"].found
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("state", "code"), [(State.OPTIONAL, 0), (State.ERROR, 1)])
def test_lines_and_the_exit_code(state: State, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found is stated here: the real findings are tested above."""
    finding = Finding(Section.BOARDS, "thing", state, "is not \x1b there " * 9, "get one")
    monkeypatch.setattr(doctor_command, "examine", lambda: iter([finding]))
    done = CliRunner().invoke(cli, ["doctor"])
    assert done.exit_code == code
    assert "hint: get one" in done.output
    assert "\x1b" not in done.output
    assert max(map(len, done.output.splitlines())) <= 80
    last = "all that edgeconv needs works" if code == 0 else "to mend: thing"
    assert done.stdout.splitlines()[-1] == last
    assert ("next: edgeconv export" in done.stderr) is (code == 0)


def test_what_imports_torchvision_is_not_to_blame_for_it() -> None:
    said = "RuntimeError: operator torchvision::nms does not exist"
    fault = explain(said, "timm")
    assert fault.what.startswith("does not import, because torchvision ")
    assert "was not built for the installed torch" in fault.what
    assert explain(said, "torchvision").what.startswith("was not built for the installed torch")


@pytest.mark.parametrize(
    ("flags", "warned"),
    [("fpu avx2 fma", True), ("avx2 avx_vnni", False), ("avx2 avx512_vnni", False), ("", False)],
)
def test_a_processor_whose_products_saturate_is_named(
    flags: str, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = {"model name": "Some CPU", "flags": flags} if flags else {"Features": "asimd asimddp"}
    monkeypatch.setattr(sys.modules["edgeconv.doctor.system"], "cpuinfo", lambda: cpu)
    found = [each for each in system() if each.name == "processor"]
    assert [each.state for each in found] == [State.WARNING] * warned
    assert all("Some CPU has no VNNI" in each.found for each in found)
