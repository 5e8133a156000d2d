"""What PyTorch's exporter translates wrong: filters by a factor, and phases of real numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from edgeconv.export import export
from edgeconv.export.capture.input_shape import InputShape
from edgeconv.export.capture.translations.antialias import _scale
from edgeconv.export.capture.translations.phases import atan2
from edgeconv.export.runtimes import open_runner

pytestmark = pytest.mark.slow


class Antialiased(nn.Module):
    """A reduction or enlargement by a factor, with the sizes that it gives or by them."""

    def __init__(self, factor: float | tuple[float, float], mode: str) -> None:
        super().__init__()
        self.factor, self.mode = factor, mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(
            x, scale_factor=self.factor, mode=self.mode, antialias=True, align_corners=False
        )


class Phase(nn.Module):
    """The phases of a short-time transform, of a plain one, and of negative real numbers."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        window = torch.hann_window(16)
        frames = torch.stft(x, 16, 8, window=window, center=False, return_complex=True)
        zero = torch.zeros_like(x)
        return (
            torch.angle(frames),
            torch.angle(torch.fft.rfft(x.reshape(4, 20, 2), dim=1)),
            torch.angle(torch.fft.rfft(x.reshape(4, 5, 8)[..., :7])),
            torch.atan2(zero, x),
            torch.atan2(x, -x.abs() - 0.5),
            torch.angle(torch.fft.fft(x.reshape(4, 5, 8), dim=1)),
            torch.angle(torch.fft.fft(x.reshape(4, 5, 8))),
            torch.angle(
                torch.stft(
                    x, 16, 8, window=window, center=False, onesided=False, return_complex=True
                )
            ),
        )


def check(network: nn.Module, x: torch.Tensor, folder: Path, tolerance: float) -> None:
    bundle = export(network.eval(), out=folder, input_size=InputShape(x.shape))
    with torch.inference_mode():
        result = network(x)
    expected = result if isinstance(result, tuple) else (result,)
    for artifact in bundle.manifest.artifacts:
        file = bundle.file(artifact)
        runner = open_runner(file, artifact.format, artifact.inputs, artifact.outputs)
        for got, wanted in zip(runner.run([x.numpy()]), expected, strict=True):
            assert np.abs(got - wanted.numpy()).max() < tolerance, artifact.path


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("factor", [0.4, (0.5, 0.3), 1.7, (0.7, 2.0)])
def test_antialias_filters_by_the_factor(
    factor: float | tuple[float, float], mode: str, tmp_path: Path
) -> None:
    x = torch.randn(1, 2, 11, 13, generator=torch.Generator().manual_seed(0))
    # ONNX states factors in float32: 2^-24 of a place among 13 moves a steep edge by so much.
    check(Antialiased(factor, mode), x, tmp_path / "out", 2e-5)


@pytest.mark.parametrize(("size", "factor"), [(90, 0.7), (70, 0.9)])
def test_a_factor_gives_the_size_that_pytorch_computes(
    size: int, factor: float, tmp_path: Path
) -> None:
    x = torch.randn(1, 1, size, size, generator=torch.Generator().manual_seed(0))
    check(Antialiased(factor, "bilinear"), x, tmp_path / "out", 1e-6 * size)


@given(before=st.integers(1, 2000), factor=st.floats(0.01, 8))
def test_every_factor_has_a_scale(before: int, factor: float) -> None:
    after = math.floor(before * factor)
    scale = _scale(before, after, factor)
    assert scale == pytest.approx(factor, abs=2**-20 * factor) or after / before == scale
    if after:
        assert math.floor(np.float32(before) * np.float32(scale)) == after


def test_phases_of_real_numbers_have_the_sign_of_pytorch(tmp_path: Path) -> None:
    x = torch.randn(2, 80, generator=torch.Generator().manual_seed(0))
    check(Phase(), x, tmp_path / "out", 1e-4)


_SIGNED = (0.0, -0.0, 1.0, -1.0, 2e-30, -3e30, math.inf, -math.inf)


class Angle(nn.Module):
    """The angles of points on and between the axes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.atan2(x[0], x[1])


def test_atan2_sees_the_signs_of_zeros(tmp_path: Path) -> None:
    x = torch.cartesian_prod(torch.tensor(_SIGNED[:6]), torch.tensor(_SIGNED[:6])).T.contiguous()
    # Two units of the last place of π.
    check(Angle(), x, tmp_path / "out", 5e-7)


def test_atan2_of_infinities_and_nan() -> None:
    y, x = torch.cartesian_prod(torch.tensor((*_SIGNED, math.nan)), torch.tensor(_SIGNED)).T
    torch.testing.assert_close(atan2(y, x), torch.atan2(y, x), equal_nan=True, rtol=3e-7, atol=0)


class NearOne(nn.Module):
    """Logarithms of numbers near 1, and powers near 1 less it."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.log1p(x), torch.expm1(x), torch.special.expm1(x - x * 0.5)


def test_log1p_and_expm1_keep_small_numbers(tmp_path: Path) -> None:
    sizes = torch.logspace(-30, -0.1, 400)
    x = torch.cat([sizes, -sizes, torch.linspace(-0.9, 3, 601)])
    network = NearOne().eval()
    bundle = export(network, out=tmp_path / "out", input_size=InputShape(x.shape))
    double = network(x.double())
    for artifact in bundle.manifest.artifacts:
        file = bundle.file(artifact)
        runner = open_runner(file, artifact.format, artifact.inputs, artifact.outputs)
        for got, wanted in zip(runner.run([x.numpy()]), double, strict=True):
            # XNNPACK's log is off by up to three units of the last place of 1 + x.
            np.testing.assert_allclose(got, wanted.numpy(), rtol=16 * 2**-24, atol=0)
