"""What ``--input-size`` may say, and what becomes of it in modules and in files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.bundle import Format
from edgeconv.cli.values import input_size
from edgeconv.errors import UsageError
from edgeconv.export import InputShape, export
from edgeconv.export.capture.guess import input_shape, is_guess
from edgeconv.export.capture.source import Source
from edgeconv.export.request import ExportRequest

ONNX = [Format.ONNX]


class Recurrent(nn.Module):
    """The first step's output depends on the shape's meaning: batch, steps, features."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(8, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cell(x)[0]


def volume() -> nn.Module:
    return nn.Sequential(nn.Conv3d(2, 3, 3), nn.ReLU(), nn.Flatten())


def dense() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 3), nn.ReLU())


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("224", (224, 224)),
        ("192x160", (192, 160)),
        ("1×28×28", (1, 28, 28)),
        ("1,12,8", (1, 12, 8)),
        ("1, 2, 8, 16, 16", (1, 2, 8, 16, 16)),
        ("1x3x28x28", (1, 3, 28, 28)),
    ],
)
def test_sizes(text: str, size: tuple[int, ...]) -> None:
    assert input_size(text) == size
    assert isinstance(input_size(text), InputShape) == ("," in text or text.count("x") > 2)


@pytest.mark.parametrize("text", ["", "0", "12,", "1,0,8", "1x2x0x4", "1,2x3", "-1,3", "a,b"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(click.BadParameter, match="whole shape, batch first"):
        input_size(text)


@pytest.mark.parametrize(
    ("network", "shape"),
    [(Recurrent(), (1, 6, 8)), (Recurrent(), (3, 5, 8)), (volume(), (1, 2, 5, 6, 7))],
)
def test_a_whole_shape_is_used_as_it_is(
    network: nn.Module, shape: tuple[int, ...], tmp_path: Path
) -> None:
    bundle = export(network.eval(), out=tmp_path / "b", input_size=InputShape(shape), formats=ONNX)
    assert bundle.manifest.inputs[0].shape == shape


def test_a_whole_shape_of_a_network_of_the_zoo(tmp_path: Path) -> None:
    shape = InputShape((2, 1, 32, 32))
    bundle = export("resnet8", out=tmp_path / "b", input_size=shape, formats=ONNX)
    assert bundle.manifest.inputs[0].shape == shape
    with pytest.raises(UsageError, match="reads inputs of 3×32×32, and the input size is 12×8"):
        export("resnet8", out=tmp_path / "c", input_size=InputShape((1, 12, 8)))


@pytest.mark.parametrize("size", [(2, 3, 8, 9), torch.Size((2, 3, 8, 9)), "2x3x8x9"])
def test_four_numbers_are_a_whole_shape(size: Any, tmp_path: Path) -> None:
    network = nn.Conv2d(3, 2, 3).eval()
    bundle = export(network, out=tmp_path / "b", input_size=size, formats=ONNX)
    assert bundle.manifest.inputs[0].shape == (2, 3, 8, 9)


@pytest.mark.parametrize(
    ("network", "size", "whole"),
    [
        (nn.Conv3d(2, 2, 3), (2, 8, 16, 16), "1,2,8,16,16"),
        (nn.Conv2d(3, 2, 3), InputShape((3, 8, 9)), "1,3,8,9"),
        (nn.Conv1d(4, 2, 3), InputShape((4, 9)), "1,4,9"),
    ],
)
def test_a_whole_shape_has_the_batch(
    network: nn.Module, size: tuple[int, ...], whole: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f'no batch in front\nhint: pass input_size="{whole}"'):
        export(network.eval(), out=tmp_path / "b", input_size=size)


def test_numbers_of_numpy_are_numbers() -> None:
    sides = np.array([8, 9])
    assert ExportRequest("resnet8", input_size=tuple(sides), batch=sides[0]).size == (8, 9)
    assert type(ExportRequest("resnet8", input_size=sides[0]).input_size) is int
    assert ExportRequest("resnet8", min_sqnr=np.float32(20)).min_sqnr == 20


def test_a_batch_beside_a_whole_shape(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"batch=2 contradicts input_size=.1,8"):
        export(dense().eval(), out=tmp_path / "b", input_size=InputShape((1, 8)), batch=2)


def test_a_guess_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        bundle = export(dense().eval(), out=tmp_path / "b", input_size=(12, 8), formats=ONNX)
    assert bundle.manifest.inputs[0].shape == (1, 3, 12, 8)
    assert "12x8 is taken for a color image, 1×3×12×8" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        export(dense().eval(), out=tmp_path / "c", input_size=InputShape((1, 12, 8)), formats=ONNX)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("network", "size", "guess"),
    [
        (nn.Conv2d(1, 2, 3), (12, 8), False),
        (nn.Conv1d(20, 2, 3), (20, 64), False),
        (nn.Linear(8, 2), (8,), False),
        (nn.Linear(8, 2), (3, 12, 8), False),
        (nn.Linear(8, 2), None, False),
        (nn.Linear(8, 2), (12, 8), True),
        (nn.Conv3d(2, 2, 3), (12, 8), True),
        (nn.ReLU(), (12, 8), True),
    ],
)
def test_which_sizes_are_guesses(
    network: nn.Module, size: tuple[int, ...] | None, guess: bool
) -> None:
    assert is_guess(Source("net", network), size) is guess
    assert not is_guess(Source("net", network, input_shape=(3, 9, 9)), size)


def test_the_channels_of_the_first_layer() -> None:
    assert input_shape(Source("net", nn.Conv2d(5, 2, 3)), (12, 8)) == (5, 12, 8)
    assert input_shape(Source("net", nn.Conv1d(20, 2, 3)), (20, 64)) == (20, 64)
    assert input_shape(Source("net", nn.Conv2d(5, 2, 3)), InputShape((1, 12, 8))) == (12, 8)
