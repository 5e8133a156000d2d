"""A pool of which ONNX Runtime computes another shape than the standard is named."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edgeconv.errors import CaptureError
from edgeconv.export import export


@pytest.mark.parametrize("operator", ["AveragePool", "MaxPool"])
def test_same_padding_with_dilations(operator: str, tmp_path: Path) -> None:
    """The hint was to look for an operator before it."""
    node = helper.make_node(
        operator, ["x"], ["y"], "pool", kernel_shape=[3, 3], dilations=[2, 2], auto_pad="SAME_LOWER"
    )
    x, y = (helper.make_tensor_value_info(each, TensorProto.FLOAT, [1, 3, 12, 12]) for each in "xy")
    model = helper.make_model(
        helper.make_graph([node], "g", [x], [y]),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=9,
    )
    onnx.save(model, tmp_path / "pool.onnx")
    with pytest.raises(CaptureError, match=r"ONNX Runtime computes .* \[1, 3, 10, 10\]") as caught:
        export(tmp_path / "pool.onnx", out=tmp_path / "out")
    assert caught.value.hint.startswith(f"state the pads of pool ({operator}) in the place of its")
