"""Run the commands of a page again, and write what they print: ``make readme``.

In a block of ``console`` a line that begins with ``$`` is a command (a backslash at its end goes
on in the next line), and what follows is its output. A block with a title, as in
``python title="net.py"``, is a file. The commands of a page run one after the other in an empty
folder, beside its files and ``examples``, as in a clone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r'^```(console|\w+ title="[\w.]+")\n(.*?)^```$', re.MULTILINE | re.DOTALL)
STEP = re.compile(r"^\$ ((?:.*\\\n)*.*)\n?((?:(?!\$ ).*\n)*)", re.MULTILINE)
TIMEOUT = 900  # seconds for one command: training takes the most


@dataclass(frozen=True)
class Step:
    """A command of a page, as it is written there, with its output."""

    command: str
    output: str


def steps(block: str) -> list[Step]:
    """The commands of a block of ``console``."""
    return [Step(match[1], match[2]) for match in STEP.finditer(block)]


def page_steps(text: str) -> list[Step]:
    """The commands of a page."""
    return [
        step for kind, block in BLOCK.findall(text) if kind == "console" for step in steps(block)
    ]


def remake(text: str, folder: Path) -> str:
    """The text of a page with the output that its commands have now; they run in ``folder``."""

    def block(match: re.Match[str]) -> str:
        kind, body = match[1], match[2]
        if kind != "console":
            (folder / kind.split('"')[1]).write_text(body, "utf-8")
            return match[0]
        return "\n".join(["```console", *(_run(step, folder) for step in steps(body)), "```"])

    return BLOCK.sub(block, text)


def _run(step: Step, folder: Path) -> str:
    """The command and its output; a command that fails is an error."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_STATE_HOME": str(folder / ".state"),  # measurements of a page are not the user's own
        "OMP_NUM_THREADS": "1",
        "EDGECONV_PROGRESS_SECONDS": "0",  # lines that come by the clock
    }
    ran = subprocess.run(
        ["bash", "-euc", step.command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if ran.returncode:
        raise click.ClickException(f"{step.command}: exit code {ran.returncode}\n{ran.stdout}")
    lines = [line.rstrip() for line in ran.stdout.replace(str(folder), ".").splitlines()]
    return "\n".join([f"$ {step.command}", *lines])


@click.command()
@click.argument("pages", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def main(pages: tuple[Path, ...]) -> None:
    """Run the commands of PAGES again, and write their output into the pages."""
    for page in pages:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "examples").symlink_to(ROOT / "examples")
            page.write_text(remake(page.read_text("utf-8"), Path(folder)), "utf-8")


if __name__ == "__main__":
    main()
