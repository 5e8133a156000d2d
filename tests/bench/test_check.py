"""What is found out before any time is taken: outputs and memory."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeconv.bench import BenchOptions, measure
from edgeconv.bench.check import agreement, compared
from edgeconv.bench.result import Memory
from edgeconv.device import open_device
from edgeconv.device.messages import Output
from edgeconv.errors import MeasurementError
from support.tiny_models import write_onnx


def output(array: NDArray[Any], **changes: Any) -> Output:
    data = array.tobytes()
    reported = {
        "name": "y",
        "dtype": str(array.dtype),
        "shape": array.shape,
        "sha256": hashlib.sha256(data).hexdigest(),
        "base64": base64.b64encode(data).decode(),
    }
    return Output(**reported | changes)


def codes(seed: int = 0, count: int = 1000) -> NDArray[np.int8]:
    return np.random.default_rng(seed).normal(0, 20, count).round().astype(np.int8)


@given(st.integers(0, 1000))
def test_rounding_differs(seed: int) -> None:
    """A tenth of an int8 network's outputs one step off, as other kernels round."""
    here = codes(seed)
    moved = np.random.default_rng(seed).random(here.size) < 0.1
    there = (here + moved).astype(np.int8)
    found = compared([output(there)], [output(here)], None, "m on pi").agreement
    assert found is not None
    assert found.within_one_step == 1.0
    assert found.sqnr_db is None or found.sqnr_db > 20


def test_floats_made_of_codes_of_a_narrow_range() -> None:
    """Three different values: steps are large against the signal, and still it is one step."""
    small = np.random.default_rng(1).integers(-1, 2, 1000)
    here = (small * 0.1).astype(np.float32)
    there = ((small + (np.arange(1000) % 5 == 0)) * 0.1).astype(np.float32)
    figures = agreement(there.astype(np.float64), here.astype(np.float64))
    assert figures.sqnr_db is not None
    assert figures.sqnr_db < 20
    assert figures.within_one_step == 1.0
    assert compared([output(there)], [output(here)], None, "").agreement


@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: x[::-1].copy(),
        lambda x: np.zeros_like(x),
        lambda x: -x,
        lambda x: x * np.float32(2),
        lambda x: np.where(np.arange(x.size) == 7, np.float32("nan"), x),
        lambda x: np.where(np.arange(x.size) == 7, np.float32("inf"), x),
    ],
)
def test_another_network(spoil: Any) -> None:
    here = np.random.default_rng(3).normal(size=1000).astype(np.float32)
    with pytest.raises(MeasurementError, match="m on pi: it computes something else"):
        compared([output(spoil(here))], [output(here)], None, "m on pi")


def test_equal_outputs_have_no_figure() -> None:
    here = codes().astype(np.float32)
    found = compared([output(here)], [output(here)], Memory(before=1, peak=2), "")
    assert found.memory == Memory(before=1, peak=2)
    assert found.agreement is not None
    assert found.agreement.sqnr_db is None
    nan = np.array([np.nan, np.inf, 1.0])
    assert agreement(nan, nan).sqnr_db is None


@pytest.mark.parametrize(
    "changes",
    [
        {"base64": "AAAA"},
        {"base64": "not base64"},
        {"sha256": "0" * 64},
    ],
)
def test_bytes_that_are_not_what_they_are_said_to_be(changes: dict[str, str]) -> None:
    there = output(codes(2), **changes)
    with pytest.raises(MeasurementError, match="damaged"):
        compared([there], [output(codes(1))], None, "m on pi")


@pytest.mark.parametrize("array", [codes(count=5), codes().astype(np.float32)])
def test_other_shapes_or_types(array: NDArray[Any]) -> None:
    with pytest.raises(MeasurementError, match="on this machine"):
        compared([output(array)], [output(codes())], None, "m on pi")
    with pytest.raises(MeasurementError, match="on this machine"):
        compared([output(codes())] * 2, [output(codes())], None, "m on pi")


def test_what_is_not_compared_is_told() -> None:
    here, there = codes(1).astype(np.int64), codes(2).astype(np.int64)
    note = compared([output(there)], [output(here)], None, "m on pi").note
    assert note is not None
    assert "an index" in note
    large = compared([output(codes(1), base64=None)], [output(codes(2))], None, "m on pi")
    assert "too large" in (large.note or "")


@pytest.mark.slow
def test_memory_grows_with_the_model(tmp_path: Path) -> None:
    """The peak is after the first inference, and counts the input of 64 MiB."""
    small = write_onnx(tmp_path / "s.onnx")
    large = write_onnx(tmp_path / "l.onnx", shape=(1, 16, 1024, 1024))
    options = BenchOptions(repetitions=1, runs=1, seconds=0, warmup=0, retries=0)
    result = measure([small, large], options, open_device("local"))
    first, second = (model.memory for model in result.models)
    assert first is not None
    assert second is not None
    assert first.before <= first.peak
    assert second.peak - first.peak > 64 << 20
