"""Networks that other tools quantized go through with every scale and integer as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import flatbuffers
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from edgeconv.bundle import Bundle, Format, IoType, Precision
from edgeconv.errors import CaptureError, UsageError
from edgeconv.export import QuantizeOptions, RangeMethod, export
from edgeconv.export.verify.bundle import verify_bundle
from support.precision import Samples, constants

pytestmark = pytest.mark.slow

TYPES = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}


class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, samples: Samples) -> None:
        self._samples: Iterator[tuple[np.ndarray, ...]] = iter(samples)

    def get_next(self) -> dict[str, np.ndarray] | None:
        sample = next(self._samples, None)
        return None if sample is None else {"x": sample[0]}


@pytest.fixture(scope="module")
def float_file(graph: ir.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("float") / "net.onnx"
    onnx.save(ir.to_proto(graph), path)
    return path


def by_onnxruntime(
    float_file: Path,
    samples: Samples,
    path: Path,
    activations: str = "uint8",
    per_channel: bool = True,
    form: QuantFormat = QuantFormat.QDQ,
    weights: str = "int8",
) -> Path:
    quantize_static(
        float_file,
        path,
        Reader(samples),
        quant_format=form,
        activation_type=TYPES[activations],
        weight_type=TYPES[weights],
        per_channel=per_channel,
    )
    return path


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("activations", ["uint8", "int8"])
def test_scales_and_integers_are_kept(
    float_file: Path, samples: Samples, tmp_path: Path, activations: str, per_channel: bool
) -> None:
    path = by_onnxruntime(float_file, samples, tmp_path / "q.onnx", activations, per_channel)
    bundle = export(path, out=tmp_path / "b")
    assert {a.precision for a in bundle.manifest.artifacts} == {Precision.INT8}
    files = {a.format: bundle.file(a) for a in bundle.manifest.artifacts}
    source, written = onnx.load(path), onnx.load(files[Format.ONNX])
    assert stored(written) == stored(source)
    assert parameters(written) == parameters(source)
    scales = np.unique([s for _, own in constants(files[Format.TFLITE].read_bytes()) for s in own])
    for weight_scales in weight_parameters(source):
        assert np.isin(weight_scales, scales).all()
    for artifact in bundle.manifest.artifacts:
        assert artifact.verification
        assert artifact.verification.within_one_step_of_other_format == 1.0
    assert bundle.manifest.calibration is None
    assert bundle.manifest.reference == "onnxruntime"
    report = verify_bundle(Bundle.load(bundle.path))
    assert all(figures.passed for figures in report.artifacts.values())


def stored(model: onnx.ModelProto) -> set[bytes]:
    """The integers of every dequantized constant."""
    constants = {item.name: item for item in model.graph.initializer}
    return {
        onnx.numpy_helper.to_array(constants[node.input[0]]).tobytes()
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in constants
    }


def parameters(model: onnx.ModelProto) -> list[tuple[bytes, bytes]]:
    """Scale and zero point of every QuantizeLinear, in order."""
    values = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    return sorted(
        (values[node.input[1]].tobytes(), values[node.input[2]].tobytes())
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    )


def weight_parameters(model: onnx.ModelProto) -> list[np.ndarray]:
    """The scales of every dequantized int8 constant."""
    values = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    return [
        values[node.input[1]].reshape(-1)
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in values
        and values[node.input[0]].dtype == np.int8
    ]


def test_asymmetric_weights_run_in_float_and_say_so(
    float_file: Path, samples: Samples, tmp_path: Path
) -> None:
    path = by_onnxruntime(
        float_file, samples, tmp_path / "q.onnx", per_channel=False, weights="uint8"
    )
    bundle = export(path, out=tmp_path / "b", formats=[Format.TFLITE])
    (artifact,) = bundle.manifest.artifacts
    assert artifact.verification
    assert artifact.verification.passed
    assert any("zero point other than 0" in reason for reason in artifact.float_fallback)


@pytest.mark.parametrize("io", [IoType.INT8, IoType.UINT8])
def test_integer_interfaces(float_file: Path, samples: Samples, tmp_path: Path, io: IoType) -> None:
    path = by_onnxruntime(float_file, samples, tmp_path / "q.onnx")
    bundle = export(path, out=tmp_path / "b", io=io)
    for artifact in bundle.manifest.artifacts:
        assert artifact.inputs[0].dtype == artifact.outputs[0].dtype == io.value
        assert artifact.verification
        assert artifact.verification.passed


def test_our_own_int8_file_is_one_of_them(bundle: Bundle, tmp_path: Path) -> None:
    source = next(
        a
        for a in bundle.manifest.artifacts
        if (a.format, a.precision) == (Format.ONNX, Precision.INT8)
    )
    again = export(bundle.file(source), out=tmp_path / "b")
    written = {a.format: again.file(a) for a in again.manifest.artifacts}
    twin = next(
        a
        for a in bundle.manifest.artifacts
        if (a.format, a.precision) == (Format.TFLITE, Precision.INT8)
    )
    assert without_metadata(written[Format.TFLITE]) == without_metadata(bundle.file(twin))


def without_metadata(path: Path) -> bytes:
    """A TFLite file without what it says of the network, such as where that came from."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    for entry in model.metadata or ():
        model.buffers[entry.buffer].data = None
    model.metadata, model.description = None, None
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder))
    return bytes(builder.Output())


def test_calibration_data_only_verifies(float_file: Path, samples: Samples, tmp_path: Path) -> None:
    path = by_onnxruntime(float_file, samples, tmp_path / "q.onnx")
    np.savez(tmp_path / "x.npz", x=np.concatenate([sample[0] for sample in samples]))
    bundle = export(path, out=tmp_path / "b", calibration=tmp_path / "x.npz")
    assert bundle.manifest.calibration is None
    assert {a.verification.samples for a in bundle.manifest.artifacts if a.verification} == {8}


@pytest.mark.parametrize("precision", [p for p in Precision if p is not Precision.INT8])
def test_it_has_no_other_precision(
    float_file: Path, samples: Samples, tmp_path: Path, precision: Precision
) -> None:
    path = by_onnxruntime(float_file, samples, tmp_path / "q.onnx")
    with pytest.raises(UsageError, match="quantized already, to int8"):
        export(path, out=tmp_path / "b", precisions=[precision])
    assert not (tmp_path / "b").exists()


def test_it_keeps_its_scales_and_takes_no_options(
    float_file: Path, samples: Samples, tmp_path: Path
) -> None:
    path = by_onnxruntime(float_file, samples, tmp_path / "qdq.onnx")
    options = QuantizeOptions(range_method=RangeMethod.MINMAX)
    with pytest.raises(UsageError, match="quantized already, to int8, and keeps its scales"):
        export(path, out=tmp_path / "out", quantization=options)


def test_onnxruntimes_own_tools_take_a_float_file(float_file: Path, tmp_path: Path) -> None:
    """quantize_dynamic stores weights transposed; an entry that states their old shape again made
    it fail."""
    bundle = export(float_file, out=tmp_path / "out", formats=[Format.ONNX])
    written = bundle.file(bundle.manifest.artifacts[0])
    graph = onnx.load(written).graph
    assert not {i.name for i in graph.value_info} & {i.name for i in graph.initializer}
    quantize_dynamic(written, tmp_path / "dynamic.onnx")


def test_activations_of_other_widths_are_refused(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[1,2] x) => (float[1,2] y)
        <float s = {0.5}, uint16 z = {7}>
        { q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z) }
    """)
    onnx.save(proto, tmp_path / "w.onnx")
    with pytest.raises(CaptureError, match="uint16"):
        export(tmp_path / "w.onnx", out=tmp_path / "b")
