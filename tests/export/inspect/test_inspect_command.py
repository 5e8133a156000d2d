import json
from pathlib import Path

import onnx
import pytest
import torch
from click.testing import CliRunner, Result
from onnx import TensorProto, helper
from torch import nn

from edgeconv.bundle import Precision
from edgeconv.cli import cli
from edgeconv.errors import BundleError, DataError, UsageError
from edgeconv.export import export
from edgeconv.export.inspect.report import BundleReport, FileReport


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5)
    )
    out = tmp_path_factory.mktemp("bundle") / "net"
    export(
        network,
        out=out,
        input_size=(8, 8),
        calibration="random",
        calibration_size=4,
        precisions=(Precision.FLOAT32, Precision.INT8),
    )
    return out


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["inspect", *map(str, arguments)])


def test_the_formats_of_a_bundle_tell_the_same(bundle: Path) -> None:
    report = BundleReport.model_validate_json(run(bundle, "--json").stdout)
    assert report.schema_version == 1
    assert {file.macs for file in report.files} == {64 * 4 * 27 + 256 * 5}
    assert {file.parameters for file in report.files} == {4 * 27 + 4 + 256 * 5 + 5}
    by_name = {Path(file.path).name: file for file in report.files}
    for precision in ("float32", "int8"):
        onnx, tflite = (
            by_name[f"Sequential_{precision}.{suffix}"] for suffix in ("onnx", "tflite")
        )
        assert onnx.peak_activation_bytes == tflite.peak_activation_bytes
        assert onnx.quantization.kind is tflite.quantization.kind
        assert onnx.quantization.per_channel_weights == tflite.quantization.per_channel_weights


def test_the_manifest_names_the_same_runtimes(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    report = BundleReport.model_validate_json(run(bundle, "--json").stdout)
    promised = {artifact["path"]: artifact["lowest_runtime"] for artifact in manifest["artifacts"]}
    assert {Path(file.path).name: file.lowest_runtime for file in report.files} == promised


def test_a_bundle_is_shown_side_by_side(bundle: Path) -> None:
    result = run(bundle)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for name in ("Sequential_float32.onnx", "Sequential_int8.tflite"):
        assert sum(line.startswith(name) for line in lines) == 5
    assert sum("1,397" in line for line in lines) == 4


def test_a_file_is_shown(bundle: Path) -> None:
    text = run(bundle / "Sequential_int8.tflite").stdout
    assert "full integer of int8" in text
    assert "CONV_2D" in text
    assert "1x8x8x3" in text
    assert max(map(len, text.splitlines()[1:])) <= 80


def test_json_of_a_file_is_versioned(bundle: Path) -> None:
    result = run(bundle / "Sequential_float32.onnx", "--json")
    report = FileReport.model_validate_json(result.stdout)
    assert report.schema_version == 1
    assert json.loads(result.stdout)["format"] == "onnx"


def test_bad_paths_have_their_own_errors(bundle: Path, tmp_path: Path) -> None:
    assert isinstance(run(tmp_path / "none.onnx").exception, UsageError)
    assert isinstance(run(tmp_path).exception, UsageError)
    (tmp_path / "text.tflite").write_text("no model")
    assert isinstance(run(tmp_path / "text.tflite").exception, DataError)


def test_a_changed_bundle_is_refused(bundle: Path) -> None:
    path = bundle / "Sequential_float32.onnx"
    content = path.read_bytes()
    path.write_bytes(content + b"\0")
    try:
        assert isinstance(run(bundle).exception, BundleError)
    finally:
        path.write_bytes(content)


def test_long_names_of_open_dimensions_stay_within_80_columns(tmp_path: Path) -> None:
    names = [f"{each}_of_the_sequence_behind_the_encoder" for each in ("a", "b", "c", "d")]
    border = [helper.make_tensor_value_info(name, TensorProto.FLOAT, names) for name in ("x", "y")]
    node = helper.make_node("Relu", ["x"], ["y"])
    path = tmp_path / "open.onnx"
    onnx.save(helper.make_model(helper.make_graph([node], "g", border[:1], border[1:])), path)
    lines = run(path).stdout.splitlines()
    shown = [line for line in lines if " x " in line]
    assert len(shown) == 2
    assert max(map(len, shown)) <= 80
    assert all(part.strip(" …").startswith("a_") for part in shown[0].split("input")[1:])
