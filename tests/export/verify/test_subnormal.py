"""What only LiteRT takes as zero is named; losses and spectra are verified as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgeconv.errors import EdgeconvError, IncompleteExport
from edgeconv.export import export

pytestmark = pytest.mark.slow

Function = Callable[..., torch.Tensor]
SMALLEST = torch.finfo(torch.float32).tiny


class Of(nn.Module):
    """A network of one function."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *xs: torch.Tensor) -> torch.Tensor:
        return self.function(*xs)


def reals(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("function", "place"),
    [
        (lambda x: torch.log2(x.abs() + 1e-38), "add (Add)"),
        (lambda x: torch.log(x.clamp(min=1e-45)), "clamp (Clip)"),
    ],
)
def test_numbers_that_litert_takes_as_zero_are_named(
    function: Function, place: str, tmp_path: Path
) -> None:
    with pytest.raises(IncompleteExport) as raised:
        export(Of(function), out=tmp_path / "out", example=(reals(3, 16),), precisions=["float32"])
    assert f"{place} has numbers below 1.2e-38" in str(raised.value)
    assert not torch.ones(1).mul(1e-40).eq(0).item()  # the process computes as before


def test_the_smallest_normal_epsilon_is_kept(tmp_path: Path) -> None:
    network = Of(lambda x: torch.log2(x.abs() + SMALLEST))
    export(network, out=tmp_path / "out", example=(reals(3, 16),), precisions=["float32"])


class Loss(nn.Module):
    """The binary cross entropy of ``x`` and ``t``, moved by ``by``."""

    def __init__(self, by: float = 0) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return functional.binary_cross_entropy(x + self.by, t, reduction="none")


def test_a_loss_that_refuses_some_values_is_verified(tmp_path: Path) -> None:
    """Synthetic values, and 1 moved by a unit in its last place, are beyond a target's bounds."""
    export(Loss(), out=tmp_path / "out", inputs=["x:3,4", "t:3,4"], precisions=["float32"])


def test_a_network_that_takes_no_values_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError, match="between 0 and 1"):
        export(Loss(-5), out=tmp_path / "out", inputs=["x:3,4", "t:3,4"])


class Transforms(nn.Module):
    """Transforms of 100, 12 × 20 and 400 points, and from 51 to 100 and back."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        rows = x.reshape(-1, 100)
        maps = x[..., :240].reshape(-1, 12, 20)
        half = torch.complex(rows[:, :51], rows[:, 49:])
        window = torch.hann_window(400, dtype=x.dtype)
        frames = torch.stft(x, 400, 160, window=window, center=False, return_complex=True)
        return {
            "fft": torch.fft.fft(rows, norm="ortho").imag,
            "fft2": torch.view_as_real(torch.fft.fft2(maps)),
            "along 1": torch.view_as_real(torch.fft.fft(maps, dim=1)),
            "ifft": torch.view_as_real(torch.fft.ifft(half)),
            "irfft": torch.fft.irfft(half),
            "irfft of 75": torch.fft.irfft(half, n=75),
            "stft": torch.view_as_real(frames),
        }


def test_transforms_of_any_length_are_exact(tmp_path: Path) -> None:
    """ONNX Runtime's own are off by 2e-5 to 1e-3 where the length is no power of two."""
    x, network = reals(2, 800), Transforms()
    bundle = export(
        network, out=tmp_path / "out", input_size=(800,), dynamic_batch=True, precisions=["float32"]
    )
    assert all(each.verification is not None for each in bundle.manifest.artifacts)
    (file,) = (tmp_path / "out").glob("*.onnx")
    session = ort.InferenceSession(file)
    got = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    expected = [each.numpy() for each in network(x.double()).values()]
    for ours, exact in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, exact, atol=1e-6 * np.abs(exact).max())
