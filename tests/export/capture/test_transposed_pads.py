"""ConvTranspose with SAME beside output_padding: what ONNX Runtime computes, in both formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeconv.errors import CaptureError
from edgeconv.export import export
from edgeconv.export.capture.onnx_file import capture_file
from edgeconv.export.runtimes import open_runner
from support.lowering import Net, smooth
from support.runtimes import run_onnx


def network(mode: str, kernel: int, stride: int, dilation: int, **stated: object) -> Net:
    net = Net()
    x = net.input("x", (1, 3, 5, 4))
    weight = net.constant(smooth((3, 2, kernel, kernel)))
    options = {"strides": (stride,) * 2, "dilations": (dilation,) * 2, "output_padding": (1, 1)}
    y = net.op("ConvTranspose", x, weight, auto_pad=mode, **options, **stated)
    net.output(net.op("Relu", y))
    return net


@pytest.mark.parametrize("stated", [True, False], ids=["stated", "inferred"])
@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(3, 2, 1), (4, 2, 1), (3, 2, 2), (2, 3, 1), (2, 4, 1)]
)
def test_both_formats_compute_what_onnx_runtime_does(
    kernel: int, stride: int, dilation: int, mode: str, stated: bool, tmp_path: Path
) -> None:
    proto = network(mode, kernel, stride, dilation).proto()
    if stated:  # shape inference states sizes that ONNX Runtime does not keep
        proto = onnx.shape_inference.infer_shapes(proto)
    else:
        proto.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(proto, tmp_path / "net.onnx")
    x = smooth((1, 3, 5, 4))
    (expected,) = run_onnx(proto, {"x": x}).values()
    bundle = export(tmp_path / "net.onnx", out=tmp_path / "out")
    assert len(bundle.manifest.artifacts) == 2
    for artifact in bundle.manifest.artifacts:
        runner = open_runner(
            bundle.file(artifact), artifact.format, artifact.inputs, artifact.outputs
        )
        (got,) = runner.run([x])
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_a_computed_kernel_needs_its_size(tmp_path: Path) -> None:
    net = Net()
    weight = net.op("Neg", net.input("w", (3, 2, 3, 3)))
    options = {"strides": (2, 2), "auto_pad": "SAME_LOWER", "output_padding": (1, 1)}
    net.output(net.op("ConvTranspose", net.input("x", (1, 3, 5, 4)), weight, **options))
    onnx.save(net.proto(), tmp_path / "net.onnx")
    with pytest.raises(CaptureError, match="kernel_shape is not stated") as caught:
        capture_file(tmp_path / "net.onnx", None, input_size=None, batch=None)
    assert "pads in the place of auto_pad" in caught.value.hint
