"""Prints the packages of the extra ``realnets``, one a line, for ``pip install --requirement``."""

from __future__ import annotations

import sys
from pathlib import Path

from edgeconv.toml_file import read_toml


def main() -> None:
    """Read ``pyproject.toml`` of the folder above the tests."""
    project = read_toml(Path(__file__).parents[2] / "pyproject.toml", hint="run it in a clone")
    packages = project["project"]["optional-dependencies"]["realnets"]
    sys.stdout.writelines(f"{each}\n" for each in packages)


if __name__ == "__main__":
    main()
