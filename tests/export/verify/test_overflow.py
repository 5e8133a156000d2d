"""Numbers beyond their type are named as the cause where files differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import nn

from edgeconv.errors import VerificationError
from edgeconv.export import export
from edgeconv.export.verify.overflow import find_overflow


def graph(body: str) -> ir.Model:
    text = f'<ir_version: 9, opset_import: ["" : 20]> g (float[4] x) => (y) {body}'
    model = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text))
    for constant in model.graph.initializer:
        constant.float_data[:] = [np.inf]
    return ir.from_proto(model)


@pytest.mark.parametrize(
    ("body", "least", "place"),
    [
        ("{ z = Exp (x) y = Cast <to = 3> (z) }", 5.0, "int8 does not hold"),
        ("{ z = Exp (x) y = Cast <to = 3> (z) }", 1.0, None),
        ("{ z = Exp (x) y = Neg (z) }", 89.0, "exceeds 3.4e38"),
        ("{ z = Exp (x) y = Neg (z) }", 80.0, None),
        ("<float k = {1}> { z = Abs (x) y = Mul (z, k) }", 0.0, "constant that is infinite"),
    ],
)
def test_the_first_place(body: str, least: float, place: str | None) -> None:
    found = find_overflow(graph(body), [(np.array([0, 0, 0, least], np.float32),)])
    assert (found is None) if place is None else (found is not None and place in found.place)


class Codes(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 300).to(torch.int8)


def test_the_message(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=r"\(Cast\) casts numbers that int8.*\n.*clamp"):
        export(
            Codes(),
            out=tmp_path / "out",
            inputs=["x:2,6"],
            formats=["tflite"],
            precisions=["float32"],
        )
