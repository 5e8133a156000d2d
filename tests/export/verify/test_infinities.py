"""Networks whose own outputs or inputs are infinite by design."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
import torch
from torch import nn

from edgeconv.bundle import Precision
from edgeconv.errors import CaptureError, DataError, VerificationError
from edgeconv.export import export
from edgeconv.export.verify.expected import Reference
from edgeconv.export.verify.infinities import (
    refuse_non_finite_outputs,
    without_shared_infinities,
)
from edgeconv.export.verify.parity import compare

INF = np.float32(np.inf)


class Masked(nn.Module):
    """Scores that are masked here, and others by an input."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"masked": x.masked_fill(x < 0, -torch.inf), "shares": (x + mask).softmax(-1)}


@pytest.mark.slow
def test_infinities_stay_where_the_network_has_them(tmp_path: Path) -> None:
    mask = torch.zeros(6, 6).masked_fill(torch.ones(6, 6).triu(1) > 0, -torch.inf)
    x = torch.linspace(-2, 3, 36).reshape(6, 6)
    bundle = export(Masked().eval(), out=tmp_path / "out", example=(x, mask))
    for artifact in bundle.manifest.artifacts:
        assert artifact.verification is not None
        assert artifact.verification.passed
        assert artifact.verification.max_error < 1e-6


@pytest.mark.slow
def test_quantized_files_have_none(tmp_path: Path) -> None:
    class Filled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            return x.masked_fill(x < 0, -torch.inf)

    data = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)
    with pytest.raises(DataError) as caught:
        export(
            Filled(), out=tmp_path / "out", input_size=(6,), calibration=data, precisions=["int8"]
        )
    assert "infinit" in caught.value.message
    assert "-1e4" in caught.value.hint


def test_an_infinity_among_the_samples_is_named() -> None:
    """It makes a NaN in the network, of which neither network nor weights are the cause."""
    graph = ir.from_proto(
        onnx.parser.parse_model(
            """<ir_version: 10, opset_import: ["" : 20]>
            agraph (float[1,3] x) => (float[1,3] y) { y = Sub(x, x) }"""
        )
    )
    samples = [(np.array([[1, each, 2]], np.float32),) for each in (0, INF)]
    outputs = [[x - x] for (x,) in samples]
    with pytest.raises(DataError, match=r"in 1 of 2 .*; the sample holds infinity in 'x'"):
        refuse_non_finite_outputs(outputs, graph, samples, has_integers=True)


def test_another_infinity_is_a_difference() -> None:
    wanted = np.array([[1.0, -INF, 2.0]], np.float32)
    reference = Reference("pytorch", [(wanted,)], [[wanted]])
    for got, passed in (
        (wanted, True),
        (np.array([[1.0, -1e30, 2.0]], np.float32), False),
        (np.array([[1.0, INF, 2.0]], np.float32), False),
        (np.array([[-INF, -INF, 2.0]], np.float32), False),
    ):
        figures = compare([[got]], reference, Precision.FLOAT32, "a runtime")
        assert figures.passed is passed


def test_shared_infinities_count_as_equal() -> None:
    a, b = np.array([1, INF, -INF, INF]), np.array([2, INF, INF, 3])
    ((first,),), ((second,),) = without_shared_infinities([[a]], [[b]])
    np.testing.assert_array_equal(first, [1, 0, -INF, INF])
    np.testing.assert_array_equal(second, [2, 0, INF, 3])


class Spectrum(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft(x)


class Rounded(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.bfloat16().float()


def test_complex_outputs_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="output 'output' of Spectrum is of complex64") as caught:
        export(Spectrum(), out=tmp_path / "out", input_size=(8,))
    assert "view_as_real" in caught.value.hint


@pytest.mark.slow
def test_what_rounds_to_fewer_digits_says_where(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=r"rounds to bfloat16 at .*bfloat16") as caught:
        export(Rounded(), out=tmp_path / "out", input_size=(8,), formats=["onnx"])
    assert "out of forward" in caught.value.hint


def test_how_many_samples_are_no_numbers_is_said() -> None:
    text = (
        "<ir_version: 8, opset_import: ['': 20]> g (float[1, 2] x) => (float[1, 2] y) "
        "{ y = Log(x) }"
    ).replace("'", '"')
    graph = ir.from_proto(onnx.parser.parse_model(text))
    samples = [(np.float32([[1, index - 3]]),) for index in range(8)]
    with np.errstate(all="ignore"):
        outputs = [[np.log(x)] for (x,) in samples]
    refuse = partial(refuse_non_finite_outputs, outputs, graph, samples)
    with pytest.raises(DataError, match=r"NaN in 1 of 2 elements in 3 of 8 samples, from .*Log"):
        refuse(has_integers=False)
    outputs = outputs[3:]  # the logarithm of zero is no NaN
    refuse_non_finite_outputs(outputs, graph, samples[3:], has_integers=False)
    with pytest.raises(DataError, match="infinite in 1 of 2 elements in 1 of 5 samples"):
        refuse_non_finite_outputs(outputs, graph, samples[3:], has_integers=True)
