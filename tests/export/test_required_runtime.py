"""A release that has to load the TFLite files: what it cannot is refused at export."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from edgeconv.errors import UnsupportedOperator, UsageError
from edgeconv.export import Format, export
from edgeconv.export.inspect.runtimes import refused_by, tflite_release
from edgeconv.models.randomize import randomize_

pytestmark = pytest.mark.slow

SHAPE = (3, 8, 8)


def network() -> nn.Module:
    layers = nn.Conv2d(3, 4, 3, padding=1), nn.GELU(), nn.Flatten(), nn.Linear(256, 5)
    return randomize_(nn.Sequential(*layers), shape=SHAPE)


@pytest.mark.parametrize(
    ("requirement", "release"),
    [
        ("tflite-runtime==2.14", "tflite-runtime 2.14.0"),
        ("tflite-runtime==2.14.0", "tflite-runtime 2.14.0"),
        ("tflite-runtime==2.6", "tflite-runtime 2.5.0"),
        ("ai-edge-litert==99", "ai-edge-litert 2.2.0"),
    ],
)
def test_a_requirement_names_a_release(requirement: str, release: str) -> None:
    assert tflite_release(requirement) == release


@pytest.mark.parametrize(
    ("requirement", "message"),
    [
        ("tflite-runtime", "write it as in"),
        ("tflite-runtime>=2.14", "write it as in"),
        ("onnxruntime==1.20", "write it as in"),
        ("tflite-runtime==2.14.x", "write it as in"),
        ("tflite-runtime==1.0", "the oldest known release is tflite-runtime 2.5.0"),
    ],
)
def test_what_is_no_release(requirement: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        tflite_release(requirement)


def test_what_a_release_refuses() -> None:
    operators = {"ADD": 1, "CONV_2D": 8, "GELU": 1}
    assert refused_by("tflite-runtime 2.5.0", operators) == ["CONV_2D version 8", "GELU version 1"]
    assert refused_by("tflite-runtime 2.14.0", operators) == ["CONV_2D version 8"]
    assert refused_by("ai-edge-litert 1.0.1", operators) == []


def test_an_export_for_an_old_release(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = {"out": out, "input_size": SHAPE, "formats": [Format.TFLITE]}
    message = (
        r"2\.7\.0 does not load GELU version 1 for \S+ \(Gelu\)\nhint: install tflite-runtime 2\."
    )
    with pytest.raises(UnsupportedOperator, match=message):
        export(network(), runtime="tflite-runtime==2.7", **options)
    assert not out.exists()
    bundle = export(network(), runtime="tflite-runtime==2.14", **options)
    assert "GELU" in bundle.manifest.artifacts[0].operators


def test_a_release_that_nothing_is_known_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"input_size": SHAPE, "formats": [Format.TFLITE], "verify": False}
    export(network(), out=tmp_path / "out", runtime="tflite-runtime==21.4", **options)
    assert caplog.text.count("tflite-runtime==21.4 is newer than every release known") == 1
    assert "checked against tflite-runtime 2.14.0" in caplog.text


def test_it_is_about_tflite_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="applies to TFLite"):
        export(
            network(), out=tmp_path / "out", formats=[Format.ONNX], runtime="tflite-runtime==2.14"
        )
