"""Synthetic integers that only arithmetic reads are of both signs, and large."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import nn

from edgeconv.bundle import TensorInfo
from edgeconv.export import InputSpec, export
from edgeconv.export.data.integer_ranges import FLAGS, integer_ranges
from edgeconv.export.data.synthetic import synthetic_input

WIDE = (1 << 40) - 1


def graph(body: str, dtype: str = "int64") -> ir.Model:
    header = '<ir_version: 10, opset_import: ["" : 20]>'
    known = (
        "<int64 two = {2}, int64 three = {3}, int64 axis = {1}, float half = {0.5}, "
        "float mask = {-10000.0}, float[9] table = {0, 1, 2, 3, 4, 5, 6, 7, 8}, int64 one = {1}>"
    )
    text = f"{header} net ({dtype}[1, 8] x) => (y) {known} {{ {body} }}"
    model = ir.from_onnx_text(text)
    return ir.from_proto(onnx.shape_inference.infer_shapes(ir.to_proto(model)))


@pytest.mark.parametrize(
    ("body", "dtype", "largest"),
    [
        ("y = Add(x, two)", "int64", WIDE),
        ("y = Mul(x, x)", "int64", (1 << 30) - 1),
        ("y = Mul(x, x)", "int32", (1 << 15) - 1),
        ("a = Mul(x, x) y = Mul(a, x)", "int32", (1 << 7) - 1),
        ("y = Div(x, three)", "int64", WIDE),
        ("y = Mod(x, three)", "int32", (1 << 30) - 1),
        ("a = Abs(x) y = ReduceSum(a, axis)", "int32", (1 << 23) - 1),
        ("y = Less(x, three)", "int32", (1 << 30) - 1),
        ("y = Neg(x)", "int32", (1 << 30) - 1),
        ("a = Cast <to = 1> (x) y = Mul(a, half)", "int64", (1 << 7) - 1),
    ],
)
def test_arithmetic_sees_both_signs(body: str, dtype: str, largest: int) -> None:
    (found,) = integer_ranges(graph(body, dtype)).values()
    assert (found.values[0], found.values[-1]) == (-largest, largest)
    info = TensorInfo(name="x", shape=(1, 200), dtype=dtype)
    drawn = synthetic_input(info, 0, found)
    assert drawn.min() < -largest // 8
    assert drawn.max() > largest // 8
    assert np.abs(drawn).min() < max(64, largest // 100)


@pytest.mark.parametrize(
    ("body", "values"),
    [
        ("y = Gather(table, x)", range(9)),
        ("a = Add(x, one) b = Gather(table, x) c = Cast <to = 1> (a) y = Add(b, c)", range(9)),
        ("y = Div(two, x)", range(1, 10)),
        ("a = Cast <to = 1> (x) y = Mul(a, mask)", FLAGS),
        ("a = Cast <to = 1> (x) y = Exp(a)", FLAGS),
        ("y = Equal(x, one)", FLAGS),
        ("y = Pow(x, three)", FLAGS),
    ],
)
def test_indices_divisors_and_flags_stay(body: str, values: range) -> None:
    (found,) = integer_ranges(graph(body)).values()
    assert found.values == values


class Rounded(nn.Module):
    def forward(self, n: torch.Tensor) -> torch.Tensor:
        return torch.div(n, 7, rounding_mode="floor") - n % 5 + n.abs()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_both_signs_are_verified(dtype: str, tmp_path: Path) -> None:
    bundle = export(Rounded(), out=tmp_path / "out", inputs=[InputSpec("n", (1, 8), dtype)])
    assert [file.verification is not None for file in bundle.manifest.artifacts] == [True, True]
