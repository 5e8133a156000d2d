"""The command line as a whole: light, complete, and true to the enums behind it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from edgeconv.bundle import Format, IoType, Layout, Precision
from edgeconv.cli import COMMANDS, cli
from edgeconv.export import ActivationType, RangeMethod, Rounding


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_help_imports_nothing_heavy() -> None:
    loaded = run(
        "import sys\nsys.argv = ['edgeconv', '--help']\nfrom edgeconv.cli import main\n"
        "try: main()\nexcept SystemExit: print(*sys.modules)"
    ).split()
    heavy = {"torch", "onnx", "onnxruntime", "numpy", "pydantic", "rich", "ai_edge_litert"}
    assert heavy.isdisjoint(loaded)


def test_importing_the_package_imports_no_torch() -> None:
    assert "torch" not in run("import sys, edgeconv, edgeconv.bundle; print(*sys.modules)").split()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_there_with_help(name: str) -> None:
    with click.Context(cli) as context:
        command = cli.get_command(context, name)
    assert command is not None
    assert command.name == name
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts} has no help"
            assert "--quiet" not in parameter.opts or "-q" in parameter.opts


def test_choices_are_the_enums() -> None:
    with click.Context(cli) as context:
        command = cli.get_command(context, "export")
    assert command is not None
    choices = {
        parameter.name: list(parameter.type.choices)
        for parameter in command.params
        if isinstance(parameter.type, click.Choice)
    }
    assert choices == {
        "formats": [item.value for item in Format],
        "precisions": [item.value for item in Precision],
        "layout": [item.value for item in reversed(Layout)],
        "io": [item.value for item in IoType],
        "onnx_activations": [item.value for item in ActivationType],
        "range_method": [item.value for item in RangeMethod],
        "rounding": [item.value for item in Rounding],
    }


def test_unknown_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgeconv", "exprot"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "exprot" in done.stderr


def test_version() -> None:
    assert (
        run("import edgeconv; print(edgeconv.__version__)").strip()
        in subprocess.run(
            [sys.executable, "-m", "edgeconv", "--version"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )


def test_a_reader_that_leaves_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m edgeconv models --json | head -c 10"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
