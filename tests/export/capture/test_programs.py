"""Programs of torch.export, from Python and from files."""

from __future__ import annotations

import json
import logging
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.errors import CaptureError, UsageError
from edgeconv.export import export
from edgeconv.export.capture.program import load_program
from support.runtimes import run_onnx

pytestmark = pytest.mark.slow


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x: torch.Tensor, *, scale: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.dropout(self.convolution(x)) * scale
        return {"map": y, "flat": y.reshape(x.shape[0], -1)}


@pytest.fixture(scope="module")
def program() -> torch.export.ExportedProgram:
    torch.manual_seed(0)
    batch = torch.export.Dim("batch", min=1, max=64)
    return torch.export.export(
        Scaled().eval(),
        (torch.randn(2, 3, 8, 8),),
        {"scale": torch.full((1,), 2.0)},
        dynamic_shapes={"x": {0: batch}, "scale": None},
    )


@pytest.fixture(scope="module")
def file(program: torch.export.ExportedProgram, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "scaled.pt2"
    torch.export.save(program, path)
    return path


@pytest.mark.parametrize("from_file", [False, True])
def test_a_program_is_exported(
    program: torch.export.ExportedProgram,
    file: Path,
    from_file: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "edgeconv"):
        bundle = export(file if from_file else program, out=tmp_path / "b", formats="onnx")
    assert "leaves the first dimension of 'x' open; it is 1 in the files" in caplog.text
    assert [(i.name, i.shape) for i in bundle.manifest.inputs] == [
        ("x", (1, 3, 8, 8)),
        ("scale", (1,)),
    ]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 3, 8, 8)).astype(np.float32)
    got = run_onnx(bundle.file(bundle.manifest.artifacts[0]), {"x": x, "scale": np.float32([3])})
    wanted = program.module()(torch.from_numpy(x), scale=torch.tensor([3.0]))
    for name in ("map", "flat"):
        np.testing.assert_allclose(got[name], wanted[name].detach().numpy(), rtol=1e-5, atol=1e-6)
    name = "scaled" if from_file else "Scaled"
    assert bundle.manifest.artifacts[0].path == f"{name}_float32.onnx"


def test_a_program_takes_no_arguments(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a program is complete"):
        export(file, out=tmp_path / "b", model_args={"width": 2})


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return exec, ("raise SystemExit('run')",)


def changed(file: Path, out: Path, member: str, change: Callable[[bytes], bytes]) -> Path:
    found = False
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(out, "w") as new:
        for each in old.infolist():
            content = old.read(each)
            if each.filename.endswith(member):
                content, found = change(content), True
            new.writestr(each.filename, content)
    assert found
    return out


@pytest.mark.parametrize(
    ("member", "change", "message"),
    [
        ("sample_inputs/model.pt", lambda _: pickle.dumps(Evil()), "more than tensors"),
        (
            "models/model.json",
            lambda c: c.replace(b"torch.ops.aten.dropout.default", b"torch.os.system"),
            "calls 'torch.os.system', which is not an operator",
        ),
        (
            "models/model.json",
            lambda c: c.replace(b"Symbol('s77', positive=True, integer=True)", b"exec(chr(49))"),
            "not an expression of sizes",
        ),
        (
            "weights/model_weights_config.json",
            lambda c: c.replace(b'"use_pickle": false', b'"use_pickle": true'),
            "weight_0 holds more than tensors",
        ),
        ("models/model.json", lambda c: c[:-9], "not a readable program"),
        (
            "constants/model_constants_config.json",
            lambda _: json.dumps({"config": 3}).encode(),
            "not a readable program",
        ),
    ],
)
def test_nothing_in_a_file_is_run(
    file: Path, member: str, change: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CaptureError, match=message):
        load_program(changed(file, tmp_path / "evil.pt2", member, change), {})


def test_what_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_text("no")
    with pytest.raises(CaptureError, match="not a readable program"):
        load_program(tmp_path / "net.pt2", {})


def test_a_damaged_program_prints_nothing(
    file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """PyTorch logs a traceback, and raises an error that says to look at it."""
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(file) as whole, zipfile.ZipFile(path, "w") as damaged:
        for name in whole.namelist():
            version = name.endswith(".data/version")
            damaged.writestr(name, b"none" if version else whole.read(name))
    with pytest.raises(CaptureError, match="not a readable program: PyTorch cannot read"):
        load_program(path, {})
    assert capfd.readouterr() == ("", "")


class Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(x.shape[0], -1).mean(1, keepdim=True) + x.shape[2] ** 2


def test_a_program_with_products_of_its_sizes(tmp_path: Path) -> None:
    """Such sizes stand in the file as SymPy's Mul, Add and Pow."""
    sizes = {0: torch.export.Dim("n"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    program = torch.export.export(Mean(), (torch.zeros(2, 3, 4, 6),), dynamic_shapes=(sizes,))
    torch.export.save(program, tmp_path / "mean.pt2")
    network = load_program(tmp_path / "mean.pt2", {}).network
    assert isinstance(network, nn.Module)
    x = torch.rand(3, 3, 5, 4)
    torch.testing.assert_close(network(x), Mean()(x))


@pytest.mark.parametrize(
    "wanted", [{"dynamic_batch": True}, {"input_size": 6}, {"input_size": (3, 6, 6), "batch": 2}]
)
def test_a_program_for_one_size(wanted: dict[str, Any], tmp_path: Path) -> None:
    program = torch.export.export(nn.Conv2d(3, 4, 3), (torch.zeros(1, 3, 8, 8),))
    with pytest.raises(UsageError, match=r"again with torch\.export\.Dim"):
        export(program, out=tmp_path / "b", **wanted)
