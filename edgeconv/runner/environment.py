"""Make a virtual environment from wheels, on the device itself, without pip and without a network.

Runs on the device as it is: Python 3.8 or newer and the standard library. Arguments: the folder to
make, "system" or "own" (whether the system's packages are seen), and the wheels. Prints the path of
the new Python. The folder appears whole, or not at all; one that is there already is replaced.
"""

from __future__ import annotations

import os
import shutil
import sys
import venv
import zipfile
from pathlib import Path


def main() -> None:
    """Make the environment that the arguments ask for."""
    folder, packages, *wheels = sys.argv[1:]
    target = Path(folder).expanduser().absolute()
    stage = target.with_name(target.name + ".part")
    shutil.rmtree(stage, ignore_errors=True)
    stage.parent.mkdir(parents=True, exist_ok=True)
    try:
        venv.create(stage, system_site_packages=packages == "system", symlinks=True)
        for script in stage.glob("bin/[Aa]ctivate*"):
            script.unlink()  # they name the folder that is about to be renamed
        (site_packages,) = stage.glob("lib/python*/site-packages")
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site_packages)
        old = target.with_name(target.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        stage.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    print(os.fspath(target / "bin" / "python3"))  # noqa: T201 - this is how it answers


if __name__ == "__main__":
    main()
