"""``--search``, ``--max-size`` and ``--max-latency`` from the command line to the files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from edgeconv.bundle import RECIPE_NAME, Bundle, Precision, sha256_of
from edgeconv.checksums import check_checksums
from edgeconv.cli import cli
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export import export
from edgeconv.export.capture.module import capture_module
from edgeconv.export.layer_rules import LayerPrecision, read_layers
from edgeconv.export.passes import optimize
from edgeconv.models.randomize import randomize_, structured_input

pytestmark = pytest.mark.slow

SHAPE = (2, 16, 16)


class OneWideBlock(nn.Module):
    """Channels from 1 to 1000 in the middle, all of which count behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 16, 3, padding=1), nn.ReLU())
        self.tail = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()) for _ in range(4))
        )
        self.register_buffer("factors", (1000.0 ** torch.linspace(0, 1, 16)).reshape(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        wide = torch.maximum(h * self.factors, h.flip(1))
        out: Tensor = self.tail(wide * (1 / self.factors))
        return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("search")
    network = OneWideBlock()
    randomize_(network, shape=SHAPE)
    x = structured_input((32, *SHAPE)).numpy()
    ir.save(optimize(capture_module(network, (x[:1],), ["output"], 20)), path / "network.onnx")
    np.savez(path / "train.npz", x=x)
    return path


def invoke(folder: Path, out: Path, *options: str) -> str:
    """What the command prints; it raises what it raises."""
    network, data = str(folder / "network.onnx"), str(folder / "train.npz")
    fixed = ["export", network, "--calibration", data, "-o", str(out), "--effort", "0"]
    result = CliRunner().invoke(
        cli, [*fixed, *options], catch_exceptions=False, standalone_mode=False
    )
    if result.exception is not None:
        raise result.exception
    return result.output


def int8_files(bundle: Path) -> dict[str, str]:
    artifacts = Bundle.load(bundle).manifest.artifacts
    return {a.path: sha256_of(bundle / a.path) for a in artifacts if a.precision is Precision.INT8}


def worst_db(bundle: Path) -> float:
    artifacts = Bundle.load(bundle).manifest.artifacts
    figures = [a.verification for a in artifacts if a.precision is Precision.INT8]
    return min(figure.sqnr_db for figure in figures if figure is not None)


def test_the_block_that_loses_everything_leaves_int8(folder: Path, tmp_path: Path) -> None:
    output = invoke(folder, tmp_path / "out", "--search", "--min-sqnr", "25")
    assert "front of accuracy against cost" in output
    rows = [line for line in output.splitlines() if " blocks in " in line]
    assert rows and max(map(len, rows)) <= 80
    assert worst_db(tmp_path / "out") >= 25
    rules = read_layers(tmp_path / "out" / RECIPE_NAME)
    assert {rule.precision for rule in rules} <= {LayerPrecision.INT16, LayerPrecision.FLOAT32}
    bundle = Bundle.load(tmp_path / "out")
    check_checksums(bundle)
    sizes = {(a.format, a.precision): a.bytes for a in bundle.manifest.artifacts}
    for format, precision in sizes:
        if precision is Precision.INT8:
            assert sizes[format, precision] < 0.75 * sizes[format, Precision.FLOAT32]
    recipe = str(tmp_path / "out" / RECIPE_NAME)
    invoke(folder, tmp_path / "again", "--layers", recipe)
    assert int8_files(tmp_path / "again") == int8_files(tmp_path / "out")
