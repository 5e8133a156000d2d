"""Elementwise functions: erfinv, logaddexp, log1p, expm1, logsigmoid, rrelu outside training."""

from __future__ import annotations

import math

import torch

from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten

# Giles, "Approximating the erfinv function" (2010), single precision, highest power first.
_CENTER = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
    -0.00417768164,
    0.246640727,
    1.50140941,
)
_TAIL = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
)


def polynomial(coefficients: tuple[float, ...], x: torch.Tensor) -> torch.Tensor:
    """The polynomial of ``x`` with these coefficients, that of the highest power first."""
    result = coefficients[0] * x + coefficients[1]
    for coefficient in coefficients[2:]:
        result = result * x + coefficient
    return result


def _erfinv(x: torch.Tensor) -> torch.Tensor:
    w = -((1 - x) * (1 + x)).log()
    # Each polynomial sees its own range only: beyond it its value would not be finite.
    center = polynomial(_CENTER, w.clamp(max=5.0) - 2.5)
    tail = polynomial(_TAIL, w.clamp(min=5.0, max=100.0).sqrt() - 3)
    inner = torch.where(w < 5, center, tail) * x
    return torch.where(x.abs() == 1, x * torch.inf, inner)


def log1p(x: torch.Tensor) -> torch.Tensor:
    """log(1 + x) to a few units of the last place; the exporter's translation rounds 1 + x.

    Near 0 it is 2 artanh(s) of s = x / (2 + x), by its series.
    """
    s = x / (x + 2)
    square = s * s
    series = square * (2 / 11) + 2 / 9
    for coefficient in (2 / 7, 2 / 5, 2 / 3, 2.0):
        series = series * square + coefficient
    # The next term is below a tenth of a unit of the last place here.
    is_near = (x > -0.29) & (x < 0.4)
    return torch.where(is_near, s * series, (x + 1).log())


def expm1(x: torch.Tensor) -> torch.Tensor:
    """exp(x) - 1 = tanh(x / 2) (exp(x) + 1), without a difference of two numbers near 1.

    exp(x) is a square: the runtimes' own exp is infinite from 88.4 on, and not from 88.7.
    """
    half = x * 0.5
    root = half.exp()
    return half.tanh() * (root * root + 1)


def _log_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """log(1 / (1 + exp(-x))), as PyTorch's kernel has it.

    The exporter writes the logarithm of a Sigmoid, which in ONNX Runtime is off by 1e-7 and is
    never below 3e-8: at -100 its logarithm is -17.
    """
    return x.clamp(max=0) - log1p(x.abs().neg().exp())


def _log_sigmoid_forward(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same with the buffer that only a derivative reads, which is empty here."""
    return _log_sigmoid(x), x.new_zeros(0)


def logaddexp(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """log(exp(x) + exp(y)); the exporter's own translation overflows from 89 on."""
    # Equal infinities have no difference.
    apart = (x - y).abs().where(x != y, 0.0)
    return torch.maximum(x, y) + apart.neg().exp().log1p()


def _logaddexp2(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    apart = (x - y).abs().where(x != y, 0.0)
    return torch.maximum(x, y) + (apart * -math.log(2)).exp().log1p() / math.log(2)


def _xlog1py(x: torch.Tensor | float, y: torch.Tensor | float) -> torch.Tensor:
    dtype = torch.result_type(x, y)
    dtype = dtype if dtype.is_floating_point else torch.get_default_dtype()
    x, y = (
        each.to(dtype) if isinstance(each, torch.Tensor) else torch.full((), each, dtype=dtype)
        for each in (x, y)
    )
    product = x * log1p(y)
    # 0 times an infinite logarithm is 0, but NaN stays NaN.
    return torch.where((x == 0) & ~y.isnan(), 0.0, product)


def _rrelu(
    x: torch.Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    return torch.nn.functional.leaky_relu(x, (lower + upper) / 2)


def _is_not_training(
    x: torch.Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    generator: torch.Generator | None = None,
) -> bool:
    return not training


def _is_float(x: torch.Tensor) -> bool:
    return x.is_floating_point()


TABLE: Table = {
    _aten.expm1.default: Translation(expm1, _is_float),
    _aten.special_expm1.default: Translation(expm1, _is_float),
    _aten.log1p.default: Translation(log1p, _is_float),
    _aten.special_log1p.default: Translation(log1p, _is_float),
    _aten.erfinv.default: Translation(_erfinv),
    _aten.special_erfinv.default: Translation(_erfinv),
    _aten.log_sigmoid.default: Translation(_log_sigmoid),
    _aten.log_sigmoid_forward.default: Translation(_log_sigmoid_forward),
    _aten.logaddexp.default: Translation(logaddexp),
    _aten.logaddexp2.default: Translation(_logaddexp2),
    _aten.special_xlog1py.default: Translation(_xlog1py),
    _aten.special_xlog1py.other_scalar: Translation(_xlog1py),
    _aten.special_xlog1py.self_scalar: Translation(_xlog1py),
    _aten.rrelu.default: Translation(_rrelu, _is_not_training),
}
