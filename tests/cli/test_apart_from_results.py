"""What the user's code prints stays out of results, in every command that runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from edgeconv.cli import cli
from edgeconv.cli.command_class import Command
from edgeconv.report.output import echo_line
from edgeconv.report.tables import console

TALKING = """
import numpy as np
import torch

print("SAID")


class Talking(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, x):
        print("SAID")
        return self.layer(x)


def samples():
    print("SAID")
    yield from np.random.default_rng(0).random((8, 4), np.float32)


def metric(outputs, truth):
    print("SAID")
    return float(outputs[0].argmax() == truth)
"""


def run(*arguments: str) -> tuple[str, str]:
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.slow
def test_every_command_that_runs_code_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("talking.py").write_text(TALKING)
    values = np.random.default_rng(0).random((6, 4), np.float32)
    np.savez("labeled.npz", x=values, y=np.arange(6) % 3)
    network = ("talking.py:Talking", "--input-size", "1,4")
    quantized = ("--precision", "int8", "--calibration", "talking.py:samples", "--effort", "0")
    for arguments in (
        ("export", *network, *quantized, "--format", "onnx", "-o", "b"),
        ("cost", *network),
        ("blame", *network, "--data", "talking.py:samples"),
        ("evaluate", "b", "--data", "labeled.npz", "--task", "talking.py:metric"),
    ):
        out, err = run(*arguments, "--json")
        json.loads(out)
        assert "SAID" in err, arguments
        assert "SAID" not in out


def test_results_and_what_is_printed_beside_them() -> None:
    @click.command(cls=Command)
    def command() -> None:
        print("from a library")  # noqa: T201
        echo_line("a result")
        console().print("another result")

    done = CliRunner().invoke(command)
    assert done.stdout == "a result\nanother result\n"
    assert re.search("from a library", done.stderr)
    assert "result" not in done.stderr
