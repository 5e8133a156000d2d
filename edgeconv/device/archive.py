"""The runner as one file: a zip archive that Python runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from edgeconv import runner
from edgeconv.scratch import temporary_folder

FOLDER = Path(runner.__file__).parent
MAIN = "from edgeconv.runner.runner import main\n\nmain()\n"


@contextmanager
def runner_archive() -> Iterator[Path]:
    """Write the modules of ``edgeconv/runner`` into an archive that stays while the block runs.

    ``python -I ARCHIVE`` measures: Python puts an archive that it runs on its path even when it is
    isolated, so any Python has the runner, whatever is installed there. The same modules always
    make the same bytes (no times, no compression), so a device keeps one copy.
    """
    members = {"__main__.py": MAIN.encode(), "edgeconv/__init__.py": b""}
    for module in sorted(FOLDER.glob("*.py")):
        members[f"edgeconv/runner/{module.name}"] = module.read_bytes()
    with temporary_folder() as folder:
        path = folder / "runner.pyz"
        with ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(ZipInfo(name), content)
        yield path
