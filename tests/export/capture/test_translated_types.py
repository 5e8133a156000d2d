"""Booleans, shifts, remainders and losses: PyTorch's own values on ONNX Runtime and on LiteRT."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgeconv.bundle import Layout
from edgeconv.export.capture.module import capture_module
from edgeconv.export.capture.translations import TABLE
from edgeconv.export.capture.translations.table import before
from edgeconv.export.passes import optimize
from edgeconv.export.tflite import lower
from support.lowering import FLOAT_TOLERANCE
from support.runtimes import run_onnx, run_tflite

pytestmark = pytest.mark.slow

Tensor = torch.Tensor
Functions = dict[str, Callable[[Tensor], Tensor]]

REALS = torch.tensor([[7.5, -7.5, 0.3, 1.0, -1.0, 3e7, -1e8, 1.5e9, -3e12, 1e20, -1e38, 6.0]])
NUMBERS = torch.tensor([[0, 1, 2, 5, 7, 8, 31, 63, 64, -1, 1000, 2**31 - 1]])

BOOLEANS: Functions = {
    "either": lambda x: (x > 0) + (x < 1),
    "or_true": lambda x: (x > 0) + True,
    "both": lambda x: (x > 0) * (x < 1),
    "power": lambda x: (x > 0) ** 2,
    "chosen": lambda x: torch.where(x > 5, x < 6, x < -5),
    "largest": lambda x: (x > 0).max(1).values,
    "place": lambda x: (x > 0).min(1).indices,
    "any_of_none": lambda x: (x > 0)[:0].any(0),
    "any_of_no_reals": lambda x: x[:0].any(),
}
REMAINDERS: Functions = {
    "remainder": lambda x: x % 3,
    "of_negative": lambda x: x % -0.7,
    "of_tensor": lambda x: torch.remainder(x, x.flip(1)),
    "of_number": lambda x: 10 % x,
    "floor": lambda x: x // 0.1,
    "floor_of_tensor": lambda x: torch.div(x, x.flip(1), rounding_mode="floor"),
    "signs": lambda x: torch.signbit(x.clamp(-2, 2) * 0.0),
}


def shifts(dtype: torch.dtype) -> Functions:
    return {
        "left": lambda x: x.to(dtype) << 3,
        "right": lambda x: x.to(dtype) >> 3,
        "left_by_tensor": lambda x: torch.bitwise_left_shift(x.flip(1).to(dtype), x.to(dtype)),
        "right_by_tensor": lambda x: x.flip(1).to(dtype) >> x.to(dtype),
        "of_number": lambda x: 1 << x.to(dtype),
    }


def short(dtype: torch.dtype) -> Functions:
    """Of these ONNX Runtime lacks kernels in 8 or 16 bits; results beyond them wrap around."""
    return {
        "negative": lambda x: -x.to(dtype),
        "square": lambda x: x.to(dtype) ** 2,
        "largest": lambda x: x.to(dtype).amax(1),
        "larger": lambda x: torch.maximum(x.to(dtype), x.flip(1).to(dtype)),
        "chosen": lambda x: torch.where(x > 5, x.to(dtype), x.flip(1).to(dtype)),
        "filled": lambda x: x.to(dtype).masked_fill(x > 5, 7),
        "limited": lambda x: x.to(dtype).clamp(2, 100),
        "product": lambda x: x.to(dtype).reshape(3, 4) @ x.to(dtype).reshape(4, 3),
        "top": lambda x: x.to(dtype).topk(3).values,
    }


def moved(dtype: torch.dtype) -> Functions:
    """Numbers without a scale that only change their place."""
    pad = functional.pad
    return {
        "padded": lambda x: pad(x.to(dtype), (1, 2), value=3),
        "padded_and_cut": lambda x: pad(x.to(dtype), (-1, 2)),
        "mirrored": lambda x: pad(x.to(dtype).reshape(1, 3, 4), (2, 1), mode="reflect"),
        "rolled": lambda x: x.to(dtype).roll(2, 1),
        "cut": lambda x: x.to(dtype)[:, 2:7],
        "every_second": lambda x: x.to(dtype)[:, ::2],
        "backwards": lambda x: x.to(dtype).flip(1),
        "joined": lambda x: torch.cat([x.to(dtype), x.to(dtype)[:, :2]], 1),
        "one": lambda x: x.to(dtype)[:, 3],
        "some": lambda x: x.to(dtype)[:, [0, 5, 3]],
        "halves": lambda x: torch.stack(x.to(dtype).chunk(2, 1)),
        "unequal": lambda x: x.to(dtype).split([5, 7], 1)[1],
        "turned": lambda x: x.to(dtype).reshape(3, 4).T,
        "repeated": lambda x: x.to(dtype).repeat(2, 3),
        "spread": lambda x: x.to(dtype).reshape(12, 1).expand(12, 2),
        "gathered": lambda x: x.to(dtype).gather(1, torch.tensor([[3, 0, 11]])),
    }


def losses(x: Tensor) -> dict[str, Tensor]:
    scores = x.abs().clamp(max=9).reshape(3, 4).log1p()
    classes = torch.tensor([1, 0, 3])
    shares, weight = scores.flip(1).softmax(1), torch.arange(1.0, 5.0)
    loss = functional.cross_entropy
    return {
        "smoothed": loss(scores, classes, label_smoothing=0.1),
        "weighted": loss(scores, classes, weight, label_smoothing=0.1),
        "ignored": loss(scores, classes, ignore_index=0, label_smoothing=0.2, reduction="none"),
        "shares": loss(scores, shares, weight, label_smoothing=0.1),
        "sum_of_shares": loss(scores, shares, reduction="sum"),
        "two_classes": functional.binary_cross_entropy(shares, scores.softmax(1), weight),
        "two_classes, small": 1e6
        * functional.binary_cross_entropy(shares * 1e-6, shares * 1e-6, reduction="none"),
        "gaussian": functional.gaussian_nll_loss(scores, shares, shares, full=True),
        "gaussian_of_rows": functional.gaussian_nll_loss(
            scores, shares, scores[:, 0], reduction="sum"
        ),
        "gaussian_of_one": functional.gaussian_nll_loss(scores, shares, 0.5, reduction="none"),
    }


class Several(nn.Module):
    def __init__(self, function: Callable[[Tensor], dict[str, Tensor]]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.function(x)


def check(function: Callable[[Tensor], dict[str, Tensor]], x: Tensor) -> None:
    network = Several(function).eval()
    expected = {name: value.numpy() for name, value in network(x).items()}
    graph = optimize(capture_module(network, [x.numpy()], list(expected), 20))
    onnx = run_onnx(ir.to_proto(graph).SerializeToString(), x.numpy())
    tflite = run_tflite(lower(graph, layout=Layout.NCHW).data, x.numpy())
    for name, wanted in expected.items():
        for got in (onnx[name], tflite[name]):
            assert got.dtype == wanted.dtype, name
            np.testing.assert_allclose(got, wanted, FLOAT_TOLERANCE, FLOAT_TOLERANCE, err_msg=name)


def each(functions: Functions) -> Callable[[Tensor], dict[str, Tensor]]:
    return lambda x: {name: function(x) for name, function in functions.items()}


@pytest.mark.parametrize("functions", [BOOLEANS, REMAINDERS], ids=["booleans", "remainders"])
def test_of_reals(functions: Functions) -> None:
    check(each(functions), REALS)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8], ids=str)
def test_shifts(dtype: torch.dtype) -> None:
    check(each(shifts(dtype)), NUMBERS)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16], ids=str)
def test_arithmetic_in_short_types(dtype: torch.dtype) -> None:
    check(each(short(dtype)), NUMBERS)


def test_bytes_that_are_moved() -> None:
    check(each(moved(torch.int8)), NUMBERS)


def test_losses() -> None:
    check(losses, REALS)


def test_what_is_not_translated_is_decomposed_as_pytorch_does() -> None:
    """PyTorch asks its table while it traces, and remembers which operators it has."""
    operator = torch.ops.aten.remainder.Tensor
    x = torch.arange(6)
    assert TABLE[operator](x, x + 1) is NotImplemented
    entry = before(TABLE, dict(torch._decomp.decomposition_table))[operator]
    assert torch.equal(entry(x, x + 1), x % (x + 1))
