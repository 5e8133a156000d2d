"""Right files whose values lie far from the network's are warned of."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.export import export
from edgeconv.export.capture.input_shape import InputShape
from edgeconv.export.verify.jumps import warn_of_jumps

pytestmark = pytest.mark.slow


class Spectrum(nn.Module):
    """A centered short-time transform.

    Reflection makes its first frame even, so that all imaginary parts are zero but for rounding.
    """

    def __init__(self, *, phase: bool, pad_mode: str = "reflect") -> None:
        super().__init__()
        self.phase, self.pad_mode = phase, pad_mode
        self.register_buffer("window", torch.hann_window(16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(
            x, 16, 8, window=self.window, pad_mode=self.pad_mode, return_complex=True
        )
        return torch.angle(spectrum) if self.phase else torch.view_as_real(spectrum)


def warnings_of(network: nn.Module, folder: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    with caplog.at_level(logging.WARNING):
        export(network.eval(), out=folder, input_size=InputShape((2, 81)))
    return [record.getMessage() for record in caplog.records]


def test_a_phase_that_rounding_decides_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = warnings_of(Spectrum(phase=True), tmp_path / "out", caplog)
    (line,) = [each for each in found if "Spectrum_float32.onnx" in each]
    assert "by up to 100% of its range" in line
    assert "rounding in float32 moves the network itself as far" in line
    assert "the real and imaginary part" in line


@pytest.mark.parametrize(("phase", "pad_mode"), [(False, "reflect"), (True, "constant")])
def test_what_does_not_jump_is_not_warned_of(
    phase: bool, pad_mode: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = Spectrum(phase=phase, pad_mode=pad_mode)
    assert not [x for x in warnings_of(network, tmp_path / "out", caplog) if "far from" in x]


def test_only_jumps_count(caplog: pytest.LogCaptureFixture) -> None:
    expected = np.linspace(-3, 3, 100, dtype=np.float32)
    near, far = expected + np.float32(1e-3), expected.copy()
    far[7] += 6
    integers = np.arange(100)
    warn_of_jumps("net.onnx", "pytorch", ["a", "b"], [(expected, near), (integers, integers + 9)])
    assert not caplog.records
    warn_of_jumps("net.onnx", "pytorch", ["a"], [(expected, far)])
    (record,) = caplog.records
    assert "net.onnx: 1 of the 100 elements of output 'a'" in record.getMessage()
    assert "by up to 100% of its range" in record.getMessage()
