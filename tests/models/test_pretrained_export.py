"""``edgeconv export --pretrained``, against a server on loopback and against none."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from edgeconv import models
from edgeconv.cli import cli
from edgeconv.errors import DataError, UsageError
from edgeconv.export.capture import weights
from edgeconv.models import pretrained
from edgeconv.models.pretrained import load_pretrained
from edgeconv.models.randomize import randomize_

pytestmark = pytest.mark.slow


@pytest.fixture
def published(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Weights of resnet8, as a loopback server publishes them."""
    url, folder = server
    state = randomize_(models.create_model("resnet8"), seed=3).state_dict()
    file = folder / "resnet8.pth"
    torch.save(state, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    file = file.rename(folder / f"resnet8-{digest[:8]}.pth")
    monkeypatch.setitem(pretrained.FILES, "resnet8", file.name)
    monkeypatch.setattr(weights, "load_pretrained", partial(load_pretrained, base_url=url))
    return state


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["export", *arguments])


def test_published_weights_are_what_is_exported(
    published: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(published, tmp_path / "same.pth")
    common = ["resnet8", "--format", "onnx", "--json"]
    downloaded = run(*common, "--pretrained", "-o", str(tmp_path / "a"))
    assert downloaded.exit_code == 0, downloaded.exception
    assert downloaded.stderr == ""  # in particular no warning of random weights
    loaded = run(*common, "--weights", str(tmp_path / "same.pth"), "-o", str(tmp_path / "b"))
    # Standard output is JSON and nothing else, though torch.hub likes to announce a download.
    hashes = [json.loads(result.stdout)["weights_sha256"] for result in (downloaded, loaded)]
    assert hashes[0] == hashes[1]
    again = run(*common, "--pretrained", "-o", str(tmp_path / "c"))
    assert again.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["ghostnet"], DataError, "ghostnet has no published weights"),
        (["resnet8", "--model-arg", "num_classes=3"], UsageError, "default num_classes only"),
        (["resnet8", "--weights", "w.pth"], UsageError, "exclude each other"),
        (
            ["torch.nn:ReLU"],
            UsageError,
            "applies to networks of the zoo, of timm",
        ),
    ],
)
@pytest.mark.usefixtures("published")
def test_what_cannot_be_had_is_one_line(
    tmp_path: Path, arguments: list[str], kind: type[Exception], message: str
) -> None:
    result = run(*arguments, "--pretrained", "-o", str(tmp_path / "out"))
    assert isinstance(result.exception, kind)
    assert message in str(result.exception)
    assert "\n" not in result.exception.message
    assert not (tmp_path / "out").exists()


def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    # A proxy that refuses stands for a machine without a network: no request leaves it.
    environment = {**os.environ, "https_proxy": "http://127.0.0.1:9", "TORCH_HOME": str(tmp_path)}
    environment.pop("no_proxy", None)
    done = subprocess.run(
        [sys.executable, "-m", "edgeconv", "export", "resnet18", "--pretrained"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    error, hint = done.stderr.splitlines()
    assert "cannot be downloaded" in error
    assert hint == "hint: check the connection, or pass a file with --weights"
    assert not (tmp_path / "resnet18").exists()
