"""Run a script with nothing but the standard library and a few named packages."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

PATHS = "import runpy, sys; sys.path.append(sys.argv[1]); sys.argv = sys.argv[2:]; "
OWN_FOLDER = "sys.path.insert(0, sys.argv[0].rpartition('/')[0]); "  # as `python script` has it
RUN = PATHS + OWN_FOLDER + "runpy.run_path(sys.argv[0], run_name='__main__')"
NONE_OF_OURS = "import sys, importlib.util; assert importlib.util.find_spec('edgeconv') is None; "


def only(folder: Path, *packages: str) -> Path:
    """A folder for Python's path that has links to some installed packages, and nothing else."""
    folder.mkdir()
    for name in packages:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.submodule_search_locations
        package = Path(next(iter(spec.submodule_search_locations)))
        (folder / package.name).symlink_to(package)
        libraries = package.with_name({"PIL": "pillow"}.get(name, name) + ".libs")
        if libraries.is_dir():
            (folder / libraries.name).symlink_to(libraries)
    return folder


def run_alone(
    script: Path, path: Path, *arguments: str | Path, python: str = sys.executable, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run a script in a Python that has ``path`` and, of site-packages, only another Python's."""
    isolated = ["-I", "-S"] if python == sys.executable else ["-I"]
    return subprocess.run(
        [python, *isolated, "-c", NONE_OF_OURS + RUN, str(path), str(script), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
