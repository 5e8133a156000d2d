"""A GELU in an .onnx file of an opset that has no such operator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.export import Format, export

SHAPE = (1, 4, 6)


def formula(path: Path, opset: int) -> Path:
    """x / 2 * (1 + erf(x / sqrt 2)) of a linear layer."""
    weight = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
    constants = {"w": weight, "root": 2**0.5, "one": 1.0, "half": 0.5}
    nodes = [
        ("MatMul", ["x", "w"], "l"),
        ("Div", ["l", "root"], "d"),
        ("Erf", ["d"], "e"),
        ("Add", ["e", "one"], "a"),
        ("Mul", ["l", "a"], "m"),
        ("Mul", ["m", "half"], "y"),
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output]) for kind, inputs, output in nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4, 5))],
        [numpy_helper.from_array(np.asarray(c, np.float32), n) for n, c in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


def test_tflite_files_alone_have_the_operator(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = export(
        formula(tmp_path / "n.onnx", 17),
        out=tmp_path / "out",
        formats=[Format.TFLITE],
        calibration="random",
    )
    for artifact in bundle.manifest.artifacts:
        assert "GELU" in artifact.operators
        assert "SIGN" not in artifact.operators
        assert not artifact.float_fallback
    assert "GELU" not in caplog.text


def test_beside_an_onnx_file_the_way_to_it_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = formula(tmp_path / "n.onnx", 17)
    bundle = export(network, out=tmp_path / "out")
    assert [artifact.opset for artifact in bundle.manifest.artifacts] == [18, None]
    assert 'pass opset=20, or only formats=["tflite"]' in caplog.text


def test_an_opset_that_cannot_be_converted_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
        raise RuntimeError(f"no adapter to {opset}")

    network = formula(tmp_path / "n.onnx", 18)
    monkeypatch.setattr(onnx.version_converter, "convert_version", fail)
    bundle = export(network, out=tmp_path / "out", formats=[Format.TFLITE])
    assert "GELU" not in bundle.manifest.artifacts[0].operators
