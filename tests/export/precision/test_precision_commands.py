"""Every command takes the files of every precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from torch import nn

from edgeconv.bench import BenchOptions, measure
from edgeconv.bundle import Bundle, Format, Precision
from edgeconv.cli import cli
from edgeconv.device import open_device
from edgeconv.export import export
from edgeconv.export.inspect import inspect_file
from edgeconv.export.inspect.report import FileReport
from edgeconv.export.tasks.evaluate import evaluate
from support.precision import Samples

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def everything(
    mixed: nn.Module, samples: Samples, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    folder = tmp_path_factory.mktemp("everything")
    np.savez(folder / "x.npz", x=np.concatenate([sample[0] for sample in samples]))
    return export(
        mixed,
        out=folder / "b",
        input_size=(3, 16, 16),
        precisions=list(Precision),
        calibration=folder / "x.npz",
    )


def test_all_are_written_and_verified(everything: Bundle) -> None:
    kinds = {(a.format, a.precision) for a in everything.manifest.artifacts}
    assert kinds == {(format, precision) for format in Format for precision in Precision}
    assert all(a.verification and a.verification.passed for a in everything.manifest.artifacts)


def test_verify_reads_them_back(everything: Bundle) -> None:
    result = CliRunner().invoke(cli, ["verify", "--quiet", str(everything.path)])
    assert result.exit_code == 0, result.output


def test_bench_runs_them(everything: Bundle) -> None:
    files = [everything.file(artifact) for artifact in everything.manifest.artifacts]
    quick = BenchOptions(repetitions=1, runs=1, seconds=0, warmup=0)
    assert len(measure(files, quick, open_device("local")).models) == len(files)


def test_evaluate_runs_them(
    everything: Bundle, samples: Samples, expected: np.ndarray, tmp_path: Path
) -> None:
    x = np.concatenate([sample[0] for sample in samples])
    np.savez(tmp_path / "data.npz", x=x, y=expected.argmax(-1).reshape(-1))
    for accuracy in evaluate(everything, tmp_path / "data.npz").results:
        # The labels are the float network's own answers; 8 bits may flip one of eight.
        assert accuracy.correct >= (7 if "int8" in accuracy.path else 8)


def test_inspect_tells_them_apart(everything: Bundle) -> None:
    reports: dict[tuple[Format, Precision], FileReport] = {
        (a.format, a.precision): inspect_file(everything.file(a))
        for a in everything.manifest.artifacts
    }
    kinds = {key: report.quantization.kind.value for key, report in reports.items()}
    for format in Format:
        assert kinds[format, Precision.FLOAT16] == "float"
        assert kinds[format, Precision.INT8_DYNAMIC] == "dynamic range"
        dynamic = reports[format, Precision.INT8_DYNAMIC].quantization
        assert (dynamic.per_channel_weights, dynamic.per_tensor_weights) == (5, 0)
        wide = reports[format, Precision.INT16X8].quantization
        assert wide.activations == ("int16",)
        assert reports[format, Precision.FLOAT16].parameter_dtypes["float16"] > 5000
    for artifact in everything.manifest.artifacts:
        report = reports[artifact.format, artifact.precision]
        assert report.lowest_runtime == artifact.lowest_runtime
    # Constants that are stored as halves are not activations.
    tflite = {precision: reports[Format.TFLITE, precision] for precision in Precision}
    half, full = tflite[Precision.FLOAT16], tflite[Precision.FLOAT32]
    assert half.peak_activation_bytes == full.peak_activation_bytes


def test_the_export_command_offers_them(tmp_path: Path) -> None:
    arguments = ["export", "resnet8", "--precision", "int4", "-o", str(tmp_path / "b")]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert all(precision.value in result.output for precision in Precision)
