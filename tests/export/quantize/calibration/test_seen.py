"""What a bundle keeps of its calibration, against NumPy's histogram."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgeconv.bundle import RANGES_NAME, Bundle
from edgeconv.calibrated_ranges import BINS, MOST_ACTIVATIONS, CalibratedRanges
from edgeconv.cli import cli
from edgeconv.errors import BundleError
from edgeconv.export import export
from edgeconv.export.quantize.calibration.ranges.histogram import Histogram, count
from edgeconv.export.quantize.calibration.seen import activation_range
from edgeconv.export.quantize.parameters import Range


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.001, 1000), clip=st.floats(0.2, 1.5))
@settings(max_examples=30)
def test_counts(seed: int, scale: float, clip: float) -> None:
    values = (scale * np.random.default_rng(seed).normal(size=5000)).astype(np.float32)
    values[:500] = 0
    histogram = Histogram(float(values.min()), float(values.max()), 1, count(values))
    step = clip * float(np.abs(values).max()) / 128
    found = activation_range("a", [histogram], Range(-128 * step, 127 * step))
    integers = np.rint(values / step)
    assert sum(found.counts) + found.below + found.above == len(values)
    # A bin of the calibration is up to 1.6 % wide: a value near an edge may count beside it.
    expected = np.histogram(integers, np.arange(-128.5, 128, 4))[0]
    assert np.abs(np.cumsum(found.counts) - np.cumsum(expected)).max() <= 0.03 * len(values)
    assert abs(found.below - (integers < -128).sum()) <= 0.03 * len(values)
    zero = found.counts[BINS // 2]  # the bin of the integers 0 to 3
    assert zero >= 500


def test_extremes_alone() -> None:
    histogram = Histogram(-1.0, 2.0, 1, np.zeros(0, np.int64))
    found = activation_range("a", [histogram], Range(-1.0, 2.0))
    assert (found.minimum, found.maximum, found.counts) == (-1.0, 2.0, ())


def made(out: Path) -> Bundle:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    samples = np.random.default_rng(0).normal(size=(32, 3, 8, 8)).astype(np.float32)
    return export(network, out=out, input_size=8, calibration=samples, precisions=["int8"])


@pytest.mark.slow
def test_a_bundle_keeps_them(tmp_path: Path) -> None:
    first, second = made(tmp_path / "a"), made(tmp_path / "b")
    data = (first.path / RANGES_NAME).read_bytes()
    assert data == (second.path / RANGES_NAME).read_bytes()
    found = CalibratedRanges.load(first.path / RANGES_NAME)
    assert found.activations == len(found.ranges) == 3
    assert [len(each.counts) for each in found.ranges] == [BINS] * 3
    relu = found.ranges[1]
    assert relu.minimum == relu.low == 0
    assert relu.counts[0] > sum(relu.counts) / 4  # the zeros
    (first.path / RANGES_NAME).write_bytes(data + b" ")
    done = CliRunner().invoke(cli, ["verify", "--quick", str(first.path)])
    assert f"{RANGES_NAME} was changed" in str(done.exception) + done.output


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        '{"schema_version":1,"kind":"ranges","activations":1,"ranges":[{"name":"a","minimum":0,'
        '"maximum":1,"low":0,"high":1,"counts":[1,2]}]}',
        '{"schema_version":1,"kind":"ranges","activations":1,"ranges":['
        + ",".join(
            ['{"name":"a","minimum":0,"maximum":1,"low":0,"high":1}'] * (MOST_ACTIVATIONS + 1)
        )
        + "]}",
    ],
)
def test_damaged_files(tmp_path: Path, content: str) -> None:
    (tmp_path / RANGES_NAME).write_text(content)
    with pytest.raises(BundleError):
        CalibratedRanges.load(tmp_path / RANGES_NAME)
