"""A manifest that says something else of its files than they do is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from edgeconv.bundle import Bundle
from edgeconv.cli.predict_command import command
from edgeconv.errors import BundleError
from edgeconv.export import export
from edgeconv.export.inspect.interface import check_interface

pytestmark = pytest.mark.slow

EVERY = ("float32", "float16", "int8-dynamic", "int8", "int16x8")
KINDS: dict[str, dict[str, Any]] = {
    "floats": {"precisions": EVERY},
    "integers": {"io": "uint8", "layout": "nchw"},
    "pictures": {"io": "int8", "inputs": ["image"]},
    "the best five": {"io": "int8", "output": "top5"},
    "every batch": {"dynamic_batch": True, "precisions": ["float32", "int8"]},
}


def made(out: Path, **options: Any) -> Bundle:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(196, 7))
    data = np.random.default_rng(0).integers(0, 256, (8, 3, 16, 16), np.uint8)
    return export(network.eval(), out=out, name="net", input_size=16, calibration=data, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_describes_its_own_files(kind: str, tmp_path: Path) -> None:
    bundle = made(tmp_path / "out", **KINDS[kind])
    assert len(bundle.manifest.artifacts) == 2 * len(KINDS[kind].get("precisions", "12"))
    for artifact in bundle.manifest.artifacts:
        check_interface(bundle, artifact)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return made(tmp_path_factory.mktemp("bundle") / "out", io="int8", precisions=["int8"])


@pytest.mark.parametrize(
    ("side", "change", "said"),
    [
        ("outputs", {"shape": (1, 8)}, r"shape of output 'output' is \[1, 7\], not \[1, 8\]"),
        ("inputs", {"dtype": "uint8"}, "type of input 'input' is int8, not uint8"),
        (
            "outputs",
            {"scale": 0.5},
            r"scale and zero point of output 'output' are 0\.\d+ and -?\d+",
        ),
        ("inputs", {"zero_point": 7}, "not 0[.]0.* and 7"),
        ("outputs", {"scale": None, "zero_point": None}, "not None and None"),
        ("inputs", {"name": "other"}, "name of input 'other' is input, not other"),
        ("outputs", None, "the file has 1 outputs, not 2"),
    ],
)
def test_what_differs_is_refused(
    good: Bundle, side: str, change: dict[str, Any] | None, said: str, tmp_path: Path
) -> None:
    """By name, before anything is run; ``predict`` does so by the manifest on disk."""
    folder = tmp_path / "out"
    shutil.copytree(good.path, folder)
    artifacts = []
    for artifact in good.manifest.artifacts:
        (info,) = getattr(artifact, side)
        infos = (info, info) if change is None else (info.model_copy(update=change),)
        artifacts.append(artifact.model_copy(update={side: infos}))
    wrong = good.manifest.model_copy(update={"artifacts": tuple(artifacts)})
    wrong.save(folder / "manifest.json")
    photo = Path(__file__).parent / "nowhere.png"
    for artifact in artifacts:
        arguments = [str(folder), str(photo), "--file", artifact.path]
        error = CliRunner().invoke(command, arguments).exception
        assert isinstance(error, BundleError)
        with pytest.raises(BundleError, match=f"contradicts {artifact.path}: .*{said}"):
            raise error
