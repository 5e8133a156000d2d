"""What a release is made of: the distributions, the images, and the workflows that build them."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="pyyaml is not installed (extra dev)")

ROOT = Path(__file__).parents[1]
TOPS = ("edgeconv", "export", "models")  # the folders of the package
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_but_where_it_publishes(path: Path) -> None:
    workflow: dict[Any, Any] = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert ("permissions" in job) == (name == "publish")
        assert job["timeout-minutes"]
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            called = set(re.findall(r"\bmake ([a-z-]+)", step.get("run", "")))
            scripts = re.findall(r"\.ci/[\w.-]+", step.get("run", ""))
            assert called <= _targets()
            assert all((ROOT / script).is_file() for script in scripts)


def test_the_workflow_of_a_release_reads_the_version_as_python_does() -> None:
    import edgeconv

    text = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    (command,) = re.findall(r"\$\((sed .*)\)", text)
    ran = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == edgeconv.__version__
    assert f"version: {edgeconv.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_copies_what_is_there_and_sent(path: Path) -> None:
    sent = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.M)
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", path.read_text("utf-8"), re.M)
        for source in line.split()[:-1]
    ]
    assert copied
    assert all((ROOT / source).exists() for source in copied)
    assert set(copied) <= set(sent)


def test_the_board_image_has_the_versions_of_the_suite() -> None:
    pins = re.findall(r"[\w-]+==[\w.]+", (ROOT / "docker" / "board.Dockerfile").read_text("utf-8"))
    constraints = (ROOT / "constraints.txt").read_text("utf-8")
    assert len(pins) == 4
    assert all(re.search(rf"^{re.escape(pin)}\b", constraints, re.M) for pin in pins)


@pytest.fixture(scope="module")
def dependencies() -> ModuleType:
    pytest.importorskip("tomllib", reason="tomllib is in the standard library since 3.11")
    spec = importlib.util.spec_from_file_location("dependencies", ROOT / ".ci" / "dependencies.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lowest_versions_are_the_lower_bounds(dependencies: ModuleType) -> None:
    stated = ["torch>=2.9", "mkdocs>=1.6,<2", "tomli>=2; python_version < '3.11'"]
    pins = ["torch==2.9", "mkdocs==1.6", "tomli==2; python_version < '3.11'"]
    assert dependencies.lowest(stated) == pins
    assert dependencies.replaced(pins, ["torch==2.13"]) == [*pins[1:], "torch==2.13"]
    with pytest.raises(ValueError, match="'torch' states no lower bound"):
        dependencies.lowest(["torch"])


@pytest.mark.slow
def test_the_distributions_have_the_package_and_no_tests(tmp_path: Path) -> None:
    pytest.importorskip("build", reason="build is not installed (extra dev)")
    tree, out = tmp_path / "tree", tmp_path / "dist"
    tree.mkdir()
    for name in (*TOPS, "tests/docs", "docs/decisions"):
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tree / name, ignore=skipped)
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"):
        shutil.copy(ROOT / name, tree)
    shutil.copy(ROOT / "MANIFEST.in", tree)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(tree)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)

    (source,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    with tarfile.open(source) as archive:
        unpacked = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "PKG-INFO"} <= unpacked
    assert not [name for name in unpacked if name.startswith(("tests", "docs"))]

    # The wheel comes from the source distribution, and has every file but caches.
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {
        path.relative_to(tree).as_posix()
        for top in TOPS
        for path in (tree / top).rglob("*")
        if path.is_file()
    }
    places = {top: "edgeconv/" if top == "edgeconv" else f"edgeconv/{top}/" for top in TOPS}
    assert packed == {
        places[top] + rest for top, _, rest in (name.partition("/") for name in wanted)
    }
    # Without the work tree: -S leaves the environment's own edgeconv out, -I the current folder.
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import edgeconv.runner as r; print(r.PROBE)"
    )
    ran = subprocess.run(
        [sys.executable, "-S", "-I", "-c", script, str(tmp_path / "installed")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.startswith(str(tmp_path))
