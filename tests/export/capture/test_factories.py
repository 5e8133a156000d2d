"""Networks in files of the user's, and what is passed for one by mistake."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from edgeconv.bundle import Bundle
from edgeconv.cli import cli
from edgeconv.errors import CaptureError, DataError, EdgeconvError, UsageError
from edgeconv.export import export
from edgeconv.export.capture.resolve import resolve
from edgeconv.export.capture.source import Source
from support.libraries import library


def found(spec: str | Path, **args: str | float | bool) -> Source:
    return resolve(str(spec), args=args, input_size=None, weights=None)


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
    return folder


def package(folder: Path, name: str, width: int) -> Path:
    """A package whose modules import each other by where they lie."""
    files = {
        f"{name}/__init__.py": "",
        f"{name}/nets/__init__.py": "from .net import make",
        f"{name}/nets/net.py": """
            from torch import nn
            from ..sizes import WIDTH
            from . import parts

            def make(classes: int = 2, bias: bool = True) -> nn.Module:
                return parts.layer(WIDTH, classes, bias)
            """,
        f"{name}/nets/parts.py": """
            from torch import nn

            def layer(*args): return nn.Linear(*args)
            """,
        f"{name}/sizes.py": f"WIDTH = {width}",
    }
    return write(folder, files) / name / "nets" / "net.py"


def test_a_file_of_a_package(tmp_path: Path) -> None:
    one = found(f"{package(tmp_path, 'widths_a', 3)}:make", classes=5, bias=False)
    assert isinstance(one.network, torch.nn.Linear)
    assert (one.network.in_features, one.network.out_features) == (3, 5)
    assert one.network.bias is None


def test_two_packages_of_one_name(tmp_path: Path) -> None:
    widths = []
    for width in (3, 4):
        path = package(tmp_path / str(width), "widths_b", width)
        network = found(f"{path}:make").network
        assert isinstance(network, torch.nn.Linear)
        widths.append(network.in_features)
    assert widths == [3, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("from .beside import x", r"imports from a package.*\nhint: put an __init__\.py into"),
        ("def make(:", r"SyntaxError.*\nhint: the error above has"),
        ("import no_such_package_of_anyone", r"no module named .*\nhint: install it"),
        ("def make(): raise ValueError('a\\nb')", r"raised ValueError: a\nhint: call it"),
        ("def make(): raise SystemExit(3)", r"raised SystemExit: 3\nhint: call it"),
    ],
)
def test_files_that_fail(content: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, {"net.py": content}) / "net.py"
    with pytest.raises(EdgeconvError, match=message):
        found(f"{path}:make")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("net.pt", r"is a file of weights.*\nhint: .*weights=.\S+net\.pt"),
        ("net.ckpt", "is a file of weights"),
        ("model.safetensors.index.json", "is a file of weights"),
        ("net.tflite", r"of another framework\nhint: .*tf2onnx"),
        ("saved/saved_model.pb", "of another framework"),
        ("bundle/manifest.json", r"is a bundle .*\nhint: pass its \.onnx file"),
        ("NET.ONNX", r"\nhint: rename it"),
        ("notes.txt", "is a file of another kind"),
        ("folder/notes.txt", "is a folder of another kind"),
    ],
)
def test_what_is_no_network(name: str, message: str, tmp_path: Path) -> None:
    write(tmp_path, {name: "x"})
    path = tmp_path / name
    with pytest.raises(UsageError, match=message):
        found(path if path.parent == tmp_path else path.parent)


def test_nothing_at_all() -> None:
    with pytest.raises(UsageError, match="MODEL is empty"):
        found("")


def test_networks_that_timm_fetches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a connection, or without the package for it, the description cannot be had."""
    library("timm")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("hf_hub:timm/resnet18.a1_in1k", "hf-hub:nobody/nothing"):
        with pytest.raises(DataError, match=rf"description of timm:{name} cannot be had.*\nhint: "):
            found(f"timm:{name}")


def test_a_network_of_timm_in_a_folder(tmp_path: Path) -> None:
    library("timm")
    config = '{"architecture": "resnet10t", "pretrained_cfg": {"input_size": [3, 96, 96]}}'
    write(tmp_path, {"config.json": config})
    source = found(f"timm:local-dir:{tmp_path}")
    assert source.input_shape == (3, 96, 96)


def test_a_folder_of_timm_without_a_network(tmp_path: Path) -> None:
    library("timm")
    with pytest.raises((CaptureError, DataError), match="local-dir"):
        found(f"timm:local-dir:{tmp_path}")


def test_arguments_of_every_type_reach_the_factory_and_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def make(sizes, act=1, flag=False):\n"
        "    assert list(sizes) == [4, 2] and act is None and flag is True\n"
        "    return nn.Sequential(nn.Linear(3, sizes[0]), nn.Linear(*sizes))\n"
    )
    arguments = ["--model-arg", "sizes=[4,2]", "--model-arg", "act=None", "--model-arg"]
    spec = f"{tmp_path / 'net.py'}:make"
    result = CliRunner().invoke(
        cli,
        ["export", spec, *arguments, "flag=true", "--format", "onnx", "-o", str(tmp_path / "out")],
    )
    assert result.exception is None, result.exception
    bundle = Bundle.load(tmp_path / "out")
    assert bundle.manifest.model_args == {"sizes": [4, 2], "act": None, "flag": True}
    assert f"weights: as {spec} makes them; --weights loads others" in result.output
    again = export(
        spec,
        model_args={"sizes": (4, 2), "act": None, "flag": True},
        formats=["onnx"],
        out=tmp_path / "again",
    )
    assert again.manifest.model_args == bundle.manifest.model_args


@pytest.mark.parametrize(
    ("save", "what"),
    [
        (lambda network, path: torch.save(network, path), r"holds a whole torch.*Linear"),
        (lambda network, path: torch.jit.script(network).save(path), "is a TorchScript archive"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # torch.jit is deprecated
def test_a_file_of_a_whole_network_for_a_network(save: Any, what: str, tmp_path: Path) -> None:
    save(nn.Linear(3, 2), str(tmp_path / "net.pt"))
    with pytest.raises(UsageError, match=rf"{what}(?s:.*)hint: name the network itself, as in net"):
        export(tmp_path / "net.pt", out=tmp_path / "out")


def test_an_async_factory_is_no_factory(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    (tmp_path / "net.py").write_text("async def make():\n    pass\n")
    with pytest.raises(UsageError, match="object of type coroutine"):
        export(f"{tmp_path / 'net.py'}:make", out=tmp_path / "out")
    assert not [each for each in recwarn if "never awaited" in str(each.message)]
