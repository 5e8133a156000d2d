"""The pictures of ``edgeconv models`` and of the examples."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from edgeconv.cli import cli
from edgeconv.errors import EdgeconvError
from examples import checkerboard, gradient_flow
from support.command_line import as_printed


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["models", *arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet8", "--gradients", "--receptive-field"), "pass --gradients or --receptive-field"),
        (("resnet8", "--out", "a.png"), "pass --gradients or --receptive-field"),
        (("resnet*", "--gradients"), "'resnet*' names no single network"),
        (("resnet8", "--gradients", "--json"), "leave --json out"),
        (("resnet8", "--gradients", "-o", "a.jpg"), "hint: name it a.png"),
        (("resnet8", "--gradients", "-o", "none/a.png"), "its folder does not exist"),
        (("resnet8", "--input-size", "32"), "--input-size applies to a picture"),
        (("resnet9", "--gradients"), "did you mean 'resnet8'"),
        (("qqq", "--gradients"), "or name one of your own as file.py:factory"),
    ],
)
def test_impossible_pictures_are_refused(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code != 0
    assert message in as_printed(result.exception)


def test_a_missing_matplotlib_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run("resnet8", "--gradients")
    assert str(result.exception) == (
        "drawing needs matplotlib, which is not installed\n"
        "hint: install it with `pip install 'edgeconv[plots]'`"
    )


OWN = """
import torch
from torch import nn

def net(channels=1):
    return nn.Sequential(nn.Conv2d(channels, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3))

def fixed():
    return nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))

class Two(nn.Module):
    def forward(self, a, b):
        return a + b

class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x

def two():
    return Two()

def branching():
    return Branching()
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    return "own.py"


@pytest.mark.slow
def test_pictures_of_a_network_of_ones_own(own: str) -> None:
    result = run(
        f"{own}:net", "--receptive-field", "--input-size", "16x16", "--model-arg", "channels=3"
    )
    assert result.exit_code == 0, result.exception
    assert "theoretical field 5x5 px" in result.output
    assert drawn(Path("net-field.png"))
    result = run(f"{own}:net", "--gradients", "--input-size", "1x16x16", "-o", "g.png")
    assert result.exit_code == 0, result.exception
    assert drawn(Path("g.png"))


@pytest.mark.parametrize(
    ("name", "picture", "message"),
    [
        ("fixed", "--gradients", "no gradient reaches a convolution or a linear layer"),
        ("two", "--gradients", "Two cannot be traced"),
        ("two", "--receptive-field", "Two cannot be traced"),
        ("branching", "--gradients", "Branching cannot be traced"),
        ("branching", "--receptive-field", "Branching cannot be traced"),
        ("none", "--gradients", "none"),
    ],
)
def test_what_cannot_be_drawn_is_an_error(own: str, name: str, picture: str, message: str) -> None:
    result = run(f"{own}:{name}", picture, "--input-size", "1x16x16")
    assert isinstance(result.exception, EdgeconvError)
    assert message in as_printed(result.exception)
    assert not list(Path.cwd().glob("*.png"))


def drawn(path: Path) -> bool:
    """Whether the file is a picture with something on it."""
    with Image.open(path) as image:
        colors = image.convert("RGB").getcolors(image.width * image.height)
        return image.width > 300 and colors is not None and len(colors) > 20


@pytest.mark.slow
def test_pictures_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    result = run("resnet8", "--gradients")
    assert result.exit_code == 0, result.output
    assert "without shortcuts: " in result.output
    assert "wrote resnet8-gradients.png" in result.output
    assert drawn(tmp_path / "resnet8-gradients.png")
    result = run("resnet8", "--receptive-field", "-o", "field.svg")
    assert "theoretical field 25x25 px" in result.output
    assert (tmp_path / "field.svg").read_text("utf-8").startswith("<?xml")
    result = run("ds_tcn", "--receptive-field", "-o", "time.png")
    assert "theoretical field 30 px" in result.output
    assert drawn(tmp_path / "time.png")
    assert "no feature map" in str(run("autoencoder", "--receptive-field").exception)


@pytest.mark.slow
def test_the_examples_draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(gradient_flow, "DEPTHS", (8, 14))
    flow, board = tmp_path / "flow.png", tmp_path / "board.png"
    result = CliRunner().invoke(gradient_flow.main, ["--out", str(flow), "--steps", "2"])
    assert result.exit_code == 0, result.output
    assert "14 layers after 2 steps" in result.output
    assert drawn(flow)
    result = CliRunner().invoke(checkerboard.main, ["--out", str(board)])
    assert "resize, then kernel 3: 0.0% unevenness" in result.output
    assert drawn(board)
