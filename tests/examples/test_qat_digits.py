"""Test quantization-aware fine-tuning end to end, on a network small enough for a test."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edgeconv.bundle import Format, Precision
from edgeconv.errors import UsageError
from examples.digits_data import load

pytest.importorskip("torchao")
from examples import qat_digits

pytestmark = pytest.mark.slow

SIZE = 8


def tiny() -> nn.Module:
    """Build two convolutions and a dense layer for 8×8 digits.

    It has no batch norms, because PT2E takes ten seconds to fold them.
    """
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def test_tuning_beats_rounding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = qat_digits.run(
        tiny(), load(SIZE), tmp_path, (30, 10), bits=3, progress=lambda step, done, total: None
    )
    rounded, tuned = (
        [accuracy.top1 for accuracy in evaluation.results]
        for _, evaluation in (result.rounded, result.tuned)
    )
    # Weights of seven values: rounding them after the training costs several percent.
    assert min(tuned) > max(rounded)
    for bundle, _ in (result.rounded, result.tuned):
        kinds = {(artifact.format, artifact.precision) for artifact in bundle.manifest.artifacts}
        assert kinds == {(format, Precision.INT8) for format in Format}
        for artifact in bundle.manifest.artifacts:
            assert artifact.float_fallback == ()
            assert artifact.verification
            assert artifact.verification.passed
    qat_digits.show(result)
    assert "tuned for rounding, tflite" in capsys.readouterr().out


def test_weight_bits_have_limits() -> None:
    from edgeconv.export.qat import EdgeQuantizer

    with pytest.raises(UsageError, match="2 to 8 bits, not 9"):
        EdgeQuantizer(weight_bits=9)
