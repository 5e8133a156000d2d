"""What is said of a budget that no attempt meets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from edgeconv.errors import EdgeconvError
from edgeconv.export import QuantizeOptions, export
from edgeconv.export.quantize.accuracy.escalation import Assessment, Attempt, Budget
from edgeconv.export.unmet_budget import unmet_budget
from edgeconv.models.randomize import randomize_
from support.plain_options import PLAIN

PLAIN_ATTEMPT = Attempt("min-max", QuantizeOptions(), Assessment(30.27, None, 1000, None), False)


def missed(sqnr_db: float, *, bytes: int = 1000, repaired: bool = False) -> Attempt:
    """An attempt that asked for 60 dB."""
    options = QuantizeOptions(repair=True, repair_to=60)
    figures = Assessment(sqnr_db, None, bytes, None, repaired=repaired)
    return Attempt("+ operators in float", options, figures, met=False)


def said(*attempts: Attempt, budget: Budget, searched: bool = False) -> str:
    error = unmet_budget([PLAIN_ATTEMPT, *attempts], budget, (), searched=searched)
    return f"{error.message}\n{error.hint}"


def test_what_takes_everything_in_float_is_out_of_reach() -> None:
    text = said(missed(31), budget=Budget(min_sqnr_db=60))
    assert "nothing was written: 60 dB is out of reach while any operator is in int8" in text
    assert "ask for 31.0 dB, which was reached" in text
    assert "int16x8 and float16, which keep more" in text
    assert "data" not in text
    # It was reached in the graph, and the files miss it; or with operators in float, which they do.
    for attempt in (missed(59.9), missed(59.9, repaired=True), PLAIN_ATTEMPT):
        text = said(attempt, budget=Budget(min_sqnr_db=60))
        assert "out of reach" not in text
        assert "calibrate with more or better data, or add --search" in text


def test_less_is_offered_only_where_the_same_files_keep_the_other_limits() -> None:
    assert "ask for 30.2 dB, which" in said(budget=Budget(min_sqnr_db=40, max_bytes=1000))
    small = replace(PLAIN_ATTEMPT.figures, sqnr_db=10, bytes=500)
    other = Attempt("small", QuantizeOptions(), small, met=False)
    assert "ask for" not in said(other, budget=Budget(min_sqnr_db=40, max_bytes=600))


def test_a_limit_below_int8_takes_more_bytes() -> None:
    text = said(missed(31, bytes=2000, repaired=True), budget=Budget(max_bytes=900), searched=True)
    assert "int8 alone is too large, and what leaves int8 takes no less" in text
    assert text.endswith("allow 1,000 bytes or more")
    assert "int8 alone" not in said(budget=Budget(max_bytes=1000, max_latency_ns=1))


def network() -> nn.Module:
    made = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    randomize_(made, shape=(1, 8, 8))
    return made


@pytest.mark.slow
def test_a_float_file_that_fits_is_named(tmp_path: Path) -> None:
    """Of a network so small the int8 files are larger than the float ones."""
    torch.manual_seed(0)
    shared = {"input_size": (1, 8, 8), "calibration": "random", "quantization": PLAIN}
    bundle = export(network(), out=tmp_path / "all", formats="onnx", **shared)
    sizes = {each.precision.value: each.bytes for each in bundle.manifest.artifacts}
    assert sizes["float32"] < sizes["int8"]
    with pytest.raises(EdgeconvError, match="nothing was written: int8 alone is too large") as one:
        export(network(), out=tmp_path / "out", formats="onnx", max_size=sizes["float32"], **shared)
    assert one.value.hint.startswith("take --precision float32 without the budget: it takes")
    assert one.value.hint.endswith(f"allow {sizes['int8']:,} bytes or more")
    with pytest.raises(EdgeconvError, match="nothing was written") as two:
        export(network(), out=tmp_path / "out", formats="onnx", max_size=100, **shared)
    assert "float32" not in two.value.hint


@pytest.mark.slow
def test_an_sqnr_that_float_alone_reaches(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError, match="100 dB is out of reach while any operator") as raised:
        export(
            network(),
            input_size=(1, 8, 8),
            calibration="random",
            formats="onnx",
            out=tmp_path / "out",
            quantization=replace(PLAIN, repair=True, repair_to=100.0),
        )
    assert "int16x8 and float16" in raised.value.hint
