"""Translations of gcd, lcm, frexp, lgamma, and of writing through strided views."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from edgeconv.bundle import Layout
from edgeconv.export.capture.module import capture_module
from edgeconv.export.capture.translations import TABLE
from edgeconv.export.passes import optimize
from edgeconv.export.tflite import lower
from support.runtimes import run_onnx, run_tflite

aten = torch.ops.aten


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64])
def test_gcd(dtype: torch.dtype) -> None:
    limits = torch.iinfo(dtype)
    rng = np.random.default_rng(0)
    drawn = rng.integers(limits.min + 1, limits.max, (2, 2000))
    drawn[1, :1000] //= rng.integers(1, 100, 1000)
    a, b = 1, 1
    fibonacci = [0]
    while b <= limits.max:  # neighbors take the most steps
        fibonacci.append(b)
        a, b = b, a + b
    pairs = np.stack([fibonacci[1:], fibonacci[:-1]])
    x, y = torch.from_numpy(np.concatenate([drawn, pairs], axis=1)).to(dtype)
    torch.testing.assert_close(TABLE[aten.gcd.default].function(x, y), torch.gcd(x, y))


def test_frexp_is_exact() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=4000) * np.logspace(-36, 37, 4000)).float()
    powers = 2.0 ** torch.arange(-126, 128).float()
    special = torch.tensor([0.0, torch.inf, -torch.inf, 3.4e38])
    x = torch.cat([x, powers, special])
    for got, expected in zip(TABLE[aten.frexp.Tensor].function(x), torch.frexp(x), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_lgamma() -> None:
    x = torch.cat([torch.linspace(-20, 60, 20001), torch.linspace(0.9, 2.1, 2001)])
    got = TABLE[aten.lgamma.default].function(x)
    expected = torch.lgamma(x.double())
    poles = torch.isinf(expected)
    assert torch.equal(torch.isinf(got), poles)
    error = (got - expected).abs()[~poles]
    # Below zero and between 3 and 8 it is a difference of numbers up to 40, some units of whose
    # last place remain; around its zeros at 1 and 2 nothing is lost.
    assert (error / (1 + expected.abs()[~poles])).max() < 4e-6
    near = (x > 0.9) & (x < 2.1)
    assert (got - expected).abs()[near].max() < 2e-7
    ends = torch.tensor([torch.inf, -torch.inf, torch.nan, 1e30])
    torch.testing.assert_close(
        TABLE[aten.lgamma.default].function(ends), torch.lgamma(ends), equal_nan=True
    )


def through_strides(x: Tensor) -> Tensor:
    y = x.clone()
    y.as_strided((2, 2), (4, 1), 1).mul_(3)
    return y


PROGRAMS: dict[str, Callable[[Tensor], Tensor]] = {
    "lcm": lambda x: torch.lcm((x * 10).to(torch.int16), (x * 6).to(torch.int16)),
    "frexp": lambda x: (lambda parts: parts.mantissa + parts.exponent)(torch.frexp(x)),
    "lgamma": torch.lgamma,
    "view": through_strides,
    "scatter": lambda x: torch.as_strided_scatter(x, x[0, :2] * 2, (2,), (3,), 1),
}


class Several(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {name: program(x) for name, program in PROGRAMS.items()}


@pytest.mark.slow
def test_both_formats_compute_them() -> None:
    x = np.array([[0.3, 2.5, -1.4, 7.25, 1e-3], [4, -0.5, 1.0, 12.5, 0.0]], np.float32)
    expected = Several()(torch.from_numpy(x))
    graph = optimize(capture_module(Several(), [x], list(expected), 20))
    for got in (
        run_onnx(ir.to_proto(graph).SerializeToString(), x),
        run_tflite(lower(graph, layout=Layout.NCHW).data, x),
    ):
        for name, value in expected.items():
            assert got[name].dtype == value.numpy().dtype, name
            exact = name != "lgamma"
            np.testing.assert_allclose(
                got[name], value, rtol=0 if exact else 4e-6, atol=0 if exact else 4e-6, err_msg=name
            )
