"""Functions of numbers that ONNX lacks: greatest common divisors, mantissas, and log-gamma."""

from __future__ import annotations

import math

import torch

from edgeconv.export.capture.translations.pointwise import polynomial
from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten

# Euclid's algorithm takes the most steps for neighbors in Fibonacci's sequence, which leaves a
# type of so many bits after so many steps.
_EUCLID_STEPS = {8: 13, 16: 24, 32: 47, 64: 92}


def _gcd(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The greatest common divisor: Euclid's algorithm, with steps that change nothing at its end.

    The remainder by zero, which runtimes refuse, is never computed.
    """
    dtype = torch.result_type(a, b)
    a, b = a.to(dtype).abs(), b.to(dtype).abs()
    for _ in range(_EUCLID_STEPS[torch.iinfo(dtype).bits]):
        # Where b is 0, a stays, and its remainder by 1 is 0 again.
        a, b = torch.where(b > 0, b, a), torch.remainder(a, b.clamp(min=1))
    return a


def _divided_by_power(x: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    """``x`` times two to the power of minus ``exponent``, exact: a factor for each of its bits."""
    negative, places = exponent < 0, exponent.abs()
    for bit in range(7):  # the exponents of halves of float32's range
        is_set = torch.remainder(torch.floor_divide(places, 1 << bit), 2) == 1
        step = 2.0 ** (1 << bit)
        x = x * torch.where(is_set, torch.where(negative, step, 1 / step), 1.0).to(x.dtype)
    return x


def _frexp(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A mantissa from 0.5 to 1 and its exponent; zero, infinity and NaN have the exponent 0."""
    size = x.abs()
    plain = (size > 0) & (size < torch.inf)
    size = torch.where(plain, size, 1.0)
    exponent = torch.floor(torch.log2(size)).clamp(-148, 127).to(torch.int32) + 1
    # The whole power may be beyond float32, its halves are not.
    half = torch.floor_divide(exponent, 2)
    mantissa = _divided_by_power(_divided_by_power(size, half), exponent - half)
    # The logarithm is rounded, perhaps to the next integer.
    above, below = mantissa >= 1, mantissa < 0.5
    mantissa = mantissa * torch.where(above, 0.5, torch.where(below, 2.0, 1.0)).to(x.dtype)
    exponent = exponent + above.to(torch.int32) - below.to(torch.int32)
    signed = torch.where(x < 0, -mantissa, mantissa)
    return torch.where(plain, signed, x), torch.where(plain, exponent, 0)


# The logarithm of the gamma function at 2 + t is t (1 - Euler's constant) and the sum of
# (-1)^k (zeta(k) - 1) t^k / k from k = 2 on (Abramowitz and Stegun 6.1.33). Up to t = 1, where
# terms fall by half, these terms are exact to float32.
_EULER = 0.57721566490153286
_TERMS = 24


def _near_two() -> tuple[float, ...]:
    zeta = [math.fsum(n**-k for n in range(2, 4000)) for k in range(2, _TERMS)]
    # What is left of the sum, by its integral from the middle of a step.
    tails = [3999.5 ** (1 - k) / (k - 1) for k in range(2, _TERMS)]
    terms = [
        (-1) ** k * (each + tail) / k
        for k, (each, tail) in enumerate(zip(zeta, tails, strict=True), start=2)
    ]
    return (*reversed(terms), 1 - _EULER, 0.0)


_NEAR_TWO = _near_two()
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
# From here on Stirling's series of three terms is exact to float32.
_STIRLING = 8


def _log_gamma_above(y: torch.Tensor) -> torch.Tensor:
    """The logarithm of the gamma function of numbers from 0.5 up."""
    low = y < 1.5
    near = torch.where(y < 3, torch.where(low, y + 1, y), 2.0) - 2
    small = polynomial(_NEAR_TWO, near) - torch.where(low, y, 1.0).log()
    raised = y < _STIRLING
    base = torch.where(raised & (y >= 3), y, 3.0)
    product = base
    for step in range(1, _STIRLING - 3):
        product = product * (base + step)
    far = torch.where(raised, base + (_STIRLING - 3), y)
    inverse = 1 / far
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square / 1260))
    stirling = (far - 0.5) * (far.log() - 1) + (series + (_HALF_LOG_TWO_PI - 0.5))
    return torch.where(y < 3, small, stirling - torch.where(raised, product.log(), 0.0))


def _lgamma(x: torch.Tensor) -> torch.Tensor:
    """A series around 2, Stirling's series above 3, and the reflection below 0.5."""
    mirrored = x < 0.5
    value = _log_gamma_above(torch.where(mirrored, 1 - x, x))
    # Near an integer the sine is exact only of the distance to it.
    sine = torch.sin(math.pi * (x - torch.round(x))).abs()
    reflected = math.log(math.pi) - sine.log() - value
    found = torch.where(mirrored, reflected, value)
    return torch.where(x.abs() == torch.inf, torch.inf, found)


def _of_reals(x: torch.Tensor) -> bool:
    return x.dtype.is_floating_point


TABLE: Table = {
    _aten.frexp.Tensor: Translation(_frexp),
    _aten.gcd.default: Translation(_gcd),
    _aten.lgamma.default: Translation(_lgamma, _of_reals),
}
"""The operators that this module translates."""
