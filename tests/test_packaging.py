"""The package list in pyproject.toml is whole, and no files import each other in a circle."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    tomllib = None  # type: ignore[assignment]


@pytest.mark.skipif(tomllib is None, reason="tomllib is in the standard library since 3.11")
def test_every_folder_is_listed() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = tomllib.load(file)["tool"]["setuptools"]["packages"]
    found = {
        ".".join((*prefix, *folder.relative_to(ROOT / top).parts))
        for top, prefix in (
            ("edgeconv", ["edgeconv"]),
            ("models", ["edgeconv", "models"]),
            ("export", ["edgeconv", "export"]),
        )
        for folder in {path.parent for path in (ROOT / top).rglob("*") if path.is_file()}
        # A folder of data is a package, too, for setuptools, which warns if it is not listed.
        if folder.name != "__pycache__"
    }
    assert sorted(listed) == sorted(found)


def test_no_files_import_each_other_in_a_circle() -> None:
    tops = {"edgeconv": ["edgeconv"], "models": ["edgeconv", "models"]}
    tops["export"] = ["edgeconv", "export"]
    files = {
        ".".join((*prefix, *path.relative_to(ROOT / top).with_suffix("").parts)): path
        for top, prefix in tops.items()
        for path in (ROOT / top).rglob("*.py")
    }
    modules = {name.removesuffix(".__init__"): path for name, path in files.items()}
    imports: dict[str, set[str]] = {}
    for name, path in modules.items():
        tree = ast.parse(path.read_text("utf-8"))
        named = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        targets = {
            whole if (whole := f"{node.module}.{alias.name}") in modules else str(node.module)
            for node in named
            for alias in node.names
        }
        imports[name] = (targets & set(modules)) - {name}
    TopologicalSorter(imports).prepare()  # raises CycleError
