"""Synthetic inputs lie where the network computes numbers, and show what typical values hide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from edgeconv.bundle import Format, TensorInfo
from edgeconv.errors import DataError
from edgeconv.export import export
from edgeconv.export.data.integer_ranges import IntegerRange, integer_ranges
from edgeconv.export.data.synthetic import Domain, SyntheticSamples, find_domain, probes

pytestmark = pytest.mark.slow

INPUT = TensorInfo(name="x", shape=(1, 3, 8, 8), dtype="float32")


class Function(nn.Module):
    """A network of one function."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.function = getattr(torch, name)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("relu", Domain.REAL),
        ("log", Domain.UNIT),
        ("sqrt", Domain.UNIT),
        ("rsqrt", Domain.UNIT),
        ("asin", Domain.UNIT),
        ("acosh", Domain.ABOVE_ONE),
    ],
)
def test_the_domain_of_the_first_operator_is_found(name: str, domain: Domain) -> None:
    network = Function(name)

    def outputs(domain: Domain) -> list[np.ndarray]:
        (x,) = SyntheticSamples([INPUT], None, domain).sample(0)
        return [network(torch.from_numpy(x)).numpy()]

    assert find_domain(outputs) is domain


@pytest.mark.parametrize("name", ["log", "sqrt", "asin"])
def test_networks_on_part_of_the_reals_are_exported(name: str, tmp_path: Path) -> None:
    bundle = export(Function(name), out=tmp_path / "out", input_size=(3, 8, 8))
    assert all(a.verification and a.verification.passed for a in bundle.manifest.artifacts)


def test_a_network_that_gives_no_numbers_is_refused(tmp_path: Path) -> None:
    class Nothing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.log(-(x * x) - 1)

    with pytest.raises(DataError, match=r"is NaN in 8 of 8 elements, from \w+ \(Log\) on"):
        export(Nothing(), out=tmp_path / "out", input_size=(8,), formats=[Format.ONNX])


def test_probes_hold_zeros_constants_tiny_and_large_values() -> None:
    sample = SyntheticSamples([INPUT]).sample(0)
    patched, tiny, large = (probe[0] for probe in probes(sample).values())
    for value in (0.0, 1.0, 0.5):
        assert np.mean(patched == value) >= 1 / 8 - 1 / 192
    assert 0 < np.abs(tiny).max() < 1e-5
    assert np.abs(large).max() > 1e3
    assert all(array.dtype == np.float32 for array in (patched, tiny, large))


@given(
    rows=st.integers(1, 12), length=st.integers(1, 3), size=st.integers(2, 9), seed=st.integers(0)
)
def test_indices_of_a_scatter_do_not_repeat(rows: int, length: int, size: int, seed: int) -> None:
    if rows > size**length:
        return
    info = TensorInfo(name="i", shape=(rows, length), dtype="int64")
    whole = info.model_copy(update={"shape": (1, rows, length)})
    samples = SyntheticSamples([whole], {"i": IntegerRange(range(size), distinct=True)})
    (indices,) = samples.sample(seed % 1000)
    assert len({tuple(row) for row in indices[0]}) == rows
    assert 0 <= indices.min() <= indices.max() < size


def test_a_scatter_asks_for_distinct_indices() -> None:
    model = ir.from_onnx_text(
        '<ir_version: 9, opset_import: ["" : 20]>\n'
        "g (float[5,2] x, int64[2,1] i, int64[2,1] j, float[2,2] v)"
        " => (float[5,2] y, float[5,2] z)\n"
        '{ y = ScatterND(x, i, v)\n z = ScatterND<reduction = "add">(x, j, v) }'
    )
    assert integer_ranges(model) == {
        "i": IntegerRange(range(5), distinct=True),
        "j": IntegerRange(range(5)),
    }
