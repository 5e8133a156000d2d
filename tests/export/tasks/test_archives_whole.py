"""Tar archives in whole commands: what comes out is what comes out with a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from torch import nn

from edgeconv.bundle import Bundle
from edgeconv.cli import cli
from edgeconv.export import export
from edgeconv.export.tasks.evaluate import evaluate
from support.archives import pack, write_webdataset

pytestmark = pytest.mark.slow

SHAPE = (3, 16, 16)


def test_an_evaluation_on_archives(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    expected = evaluate(bundle, images)
    packed = evaluate(bundle, pack(images, tmp_path / "val.tar"))
    assert packed == expected.model_copy(update={"data": "val.tar"})
    write_webdataset(images, tmp_path / "shards", 3)
    named = tmp_path / "shards" / "shard-{000..002}.tar"
    command = ["evaluate", str(bundle.path), "--data", str(named), "--json", "--no-history"]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["results"] == json.loads(expected.model_dump_json())["results"]


def test_an_export_calibrated_on_archives(network: nn.Module, images: Path, tmp_path: Path) -> None:
    tar = pack(images, tmp_path / "photos.tar")
    bundles = [
        export(network, out=tmp_path / name, input_size=SHAPE, calibration=path)
        for name, path in (("a", images), ("b", tar))
    ]
    records = [bundle.manifest.calibration for bundle in bundles]
    assert records[0] is not None
    assert records[1] == records[0].model_copy(update={"source": "photos.tar"})
    for artifact, other in zip(*(b.manifest.artifacts for b in bundles), strict=True):
        assert artifact.sha256 == other.sha256
