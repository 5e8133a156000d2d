"""What is left of the normal distribution beyond a point: erfc, erfcx and log_ndtr."""

from __future__ import annotations

import math

import torch

from edgeconv.export.capture.translations.pointwise import log1p, polynomial
from edgeconv.export.capture.translations.table import Table, Translation

_aten = torch.ops.aten

# Press et al., "Numerical Recipes", erfcc: to 1.2e-7 of the value everywhere. Highest power first.
_LOGARITHM = (
    0.17087277,
    -0.82215223,
    1.48851587,
    -1.13520398,
    0.27886807,
    -0.18628806,
    0.09678418,
    0.37409196,
    1.00002368,
    -1.26551223,
)


def _log_erfcx(x: torch.Tensor) -> torch.Tensor:
    """log(exp(x²) erfc(x)) of x that are not negative."""
    t = 1 / (1 + 0.5 * x)
    return t.log() + polynomial(_LOGARITHM, t)


def _erfc(x: torch.Tensor) -> torch.Tensor:
    """The exporter's 1 - erf(x) is 0 from 4 on."""
    magnitude = x.abs()
    tail = (_log_erfcx(magnitude) - magnitude * magnitude).exp()
    return torch.where(x < 0, 2 - tail, torch.where(x < 0.5, 1 - x.erf(), tail))


def _erfcx(x: torch.Tensor) -> torch.Tensor:
    magnitude = x.abs()
    tail = _log_erfcx(magnitude).exp()
    negative = x.clamp(max=0.0)
    return torch.where(x < 0, 2 * (negative * negative).exp() - tail, tail)


def _log_ndtr(x: torch.Tensor) -> torch.Tensor:
    """log(erfc(-x / √2) / 2), without the erfc where that would be 0."""
    magnitude = x.abs() * math.sqrt(0.5)
    half = _log_erfcx(magnitude) - magnitude * magnitude - math.log(2)
    return torch.where(x < 0, half, log1p(-half.exp()))


TABLE: Table = {
    _aten.erfc.default: Translation(_erfc),
    _aten.special_erfc.default: Translation(_erfc),
    _aten.special_erfcx.default: Translation(_erfcx),
    _aten.special_log_ndtr.default: Translation(_log_ndtr),
}
