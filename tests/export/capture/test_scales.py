"""Scales of a file's own quantization that no runtime computes with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.errors import CaptureError
from edgeconv.export import export


def quantized(path: Path, scale: Any, zero: Any, *, at_input: bool = False, **axis: int) -> Path:
    """A Relu between a QuantizeLinear ``q`` and its DequantizeLinear."""
    first = [] if at_input else [helper.make_node("Tanh", ["x"], ["t"])]
    pair = [
        helper.make_node(
            "QuantizeLinear", ["x" if at_input else "t", "s", "z"], ["i"], "q", **axis
        ),
        helper.make_node("DequantizeLinear", ["i", "s", "z"], ["d"], **axis),
        helper.make_node("Relu", ["d"], ["y"]),
    ]
    shape = [1, 3, 4, 4]
    graph = helper.make_graph(
        [*first, *pair],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(np.array(scale, np.float32), "s"),
            numpy_helper.from_array(np.array(zero, np.uint8), "z"),
        ],
    )
    opsets = [helper.make_opsetid("", 19)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


@pytest.mark.parametrize(
    ("scale", "zero", "axis", "said"),
    [
        *((number, 0, {}, "a scale of") for number in (0, -1, np.nan, np.inf, 1e-45)),
        ([0.1, 0, 0.1], [0] * 3, {"axis": 1}, "a scale of 0 for the activation 't'"),
        ([0.1] * 3, [0] * 2, {"axis": 1}, "3 scales and 2 zero points"),
        ([], [], {"axis": 1}, r"scales of shape \[0\]"),
        ([0.1] * 3, [0] * 3, {"axis": 9}, "along axis 9, and 't' has 4 dimensions"),
        ([0.1] * 3, [0] * 3, {"axis": -9}, "along axis -9"),
        ([0.1] * 4, [0] * 4, {"axis": 1}, r"shape \[4\], and 't' has 3 indices along axis 1"),
        ([[0.1] * 3], [[0] * 3], {"axis": 1}, r"scales of shape \[1, 3\]"),
    ],
)
def test_they_are_refused_by_name(
    scale: Any, zero: Any, axis: dict[str, int], said: str, tmp_path: Path
) -> None:
    """LiteRT ended the process on the first ones."""
    path = quantized(tmp_path / "m.onnx", scale, zero, **axis)
    with pytest.raises(CaptureError, match=rf"q \(QuantizeLinear\) has .*{said}") as caught:
        export(path, out=tmp_path / "out")
    assert caught.value.hint


def test_an_input_with_a_scale_for_each_channel(tmp_path: Path) -> None:
    path = quantized(tmp_path / "m.onnx", [0.1] * 3, [0] * 3, at_input=True, axis=1)
    with pytest.raises(CaptureError, match=r"q .* for each channel of the input 'x'"):
        export(path, out=tmp_path / "out")
