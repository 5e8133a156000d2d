"""Try edgeconv with the lowest or the newest versions of what it depends on.

    python .ci/dependencies.py lowest
    python .ci/dependencies.py newest

Lowest is the lower bound of each range in pyproject.toml, newest is what pip finds. The wheel is
installed into an environment of its own, `pip check` looks at it, and a small network is exported,
verified and measured. ``--set torch==2.13.0`` replaces a version, for machines that cannot get it.
``--python`` names the Python of that environment; the script itself needs 3.11 or newer.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

import tomllib

ROOT = Path(__file__).parents[1]
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)>=(?P<version>[\d.]+)(?:,[^;]*)?(?P<marker>;.*)?")
TRIED = (  # commands of edgeconv, from float and int8 in both formats to their latency
    ["export", "resnet8", "--calibration", "random", "-o", "out", "--force"],
    ["verify", "out"],
    ["inspect", "out"],
    ["bench", "out", "--seconds", "0.1", "--repetitions", "1", "--no-history"],
)


def lowest(dependencies: list[str]) -> list[str]:
    """Pins of the lower bounds, in pip's form.

    Raises:
        ValueError: A dependency states no lower bound.
    """
    pins = []
    for dependency in dependencies:
        found = REQUIREMENT.fullmatch(dependency)
        if found is None:
            raise ValueError(f"pyproject.toml: {dependency!r} states no lower bound")
        pins.append(f"{found['name']}=={found['version']}{found['marker'] or ''}")
    return pins


def replaced(pins: list[str], given: list[str]) -> list[str]:
    """The pins, with those of ``given`` in the place of those of the same name."""
    names = {pin.split("==")[0] for pin in given}
    return [pin for pin in pins if pin.split("==")[0] not in names] + given


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Print a command and run it; one that fails is an error."""
    print("$", *command, flush=True)  # noqa: T201 - a script of the CI
    subprocess.run([str(word) for word in command], cwd=cwd, check=True)


def main() -> None:
    """Make the environment, and try edgeconv in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("versions", choices=["lowest", "newest"])
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--set", action="append", default=[], metavar="NAME==VERSION")
    given = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = lowest(project["dependencies"]) if given.versions == "lowest" else []

    folder = ROOT / "build" / f"dependencies-{given.versions}"
    shutil.rmtree(folder, ignore_errors=True)
    run(given.python, "-m", "venv", folder)
    pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet"]
    (folder / "pins.txt").write_text("\n".join(replaced(pins, given.set)) + "\n", "utf-8")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", folder, ".")
    (wheel,) = folder.glob("edgeconv-*.whl")
    run(*pip, "install", "--constraint", folder / "pins.txt", wheel)
    run(*pip, "check")
    run(*pip, "list")
    for arguments in TRIED:
        run(folder / "bin" / "edgeconv", *arguments, cwd=folder)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: exit code {error.returncode}")
