"""A file of a bundle that a device cannot run costs only its own figures, whatever is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeconv.bench import BenchOptions
from edgeconv.bench.profile.profile import profile
from edgeconv.bench.sustained import sustain
from edgeconv.device.local import LocalDevice
from edgeconv.errors import MeasurementError
from support.tiny_models import write_onnx, write_tflite

pytestmark = pytest.mark.slow

OPTIONS = BenchOptions(runs=5, warmup=0.0, repetitions=1, retries=0)


@pytest.fixture(params=["onnx", "tflite"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> list[Path]:
    """The first one does not run."""
    made = [write_onnx(tmp_path / "m.onnx"), write_tflite(tmp_path / "m.tflite")]
    bad = made if request.param == "onnx" else made[::-1]
    # Of the TFLite file nothing but its identifier is left; no runtime loads either.
    bad[0].write_bytes(bad[0].read_bytes()[:8])
    return bad


def test_operators(files: list[Path]) -> None:
    result = profile(files, OPTIONS, LocalDevice(), optional=files)
    assert [model.file.name for model in result.models] == [str(files[1])]
    (left,) = [warning for warning in result.warnings if warning.startswith("left out: ")]
    assert files[0].name in left
    with pytest.raises(MeasurementError):
        profile(files, OPTIONS, LocalDevice(), optional=files[1:])


def test_sustained_load(files: list[Path]) -> None:
    result = sustain(files, OPTIONS, 1.0, LocalDevice(), optional=files)
    assert [model.file.name for model in result.models] == [str(files[1])]
    assert result.cut is None
    assert result.warnings[0].startswith(f"left out: {files[0]} on local: ")
    with pytest.raises(MeasurementError):
        sustain(files, OPTIONS, 1.0, LocalDevice(), optional=files[1:])
