"""The package list in pyproject.toml names every folder with Python in it."""

from __future__ import annotations

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
        ".".join((*prefix, *init.parent.relative_to(ROOT / top).parts))
        for top, prefix in (
            ("edgeconv", ["edgeconv"]),
            ("models", ["edgeconv", "models"]),
            ("export", ["edgeconv", "export"]),
        )
        for init in (ROOT / top).rglob("__init__.py")
    }
    assert sorted(listed) == sorted(found)
