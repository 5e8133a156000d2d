"""Samples of integers that the network or its input cannot take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.errors import DataError
from edgeconv.export import InputSpec, export
from edgeconv.export.data.preprocess import to_input
from edgeconv.export.tensor_info import TensorInfo

TOKENS = TensorInfo(name="tokens", shape=(1, 4), dtype="int64")


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.head = nn.Embedding(10, 6), nn.Linear(6, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.table(tokens)).relu()
        return result


@pytest.mark.parametrize(("low", "high"), [(10, 20), (-20, -10)])
def test_indices_beyond_a_table(tmp_path: Path, low: int, high: int) -> None:
    beyond = np.random.default_rng(0).integers(low, high, (40, 4))
    with pytest.raises(DataError, match=r"holds -?[12]0, and table has 10 rows"):
        export(
            Words(),
            out=tmp_path / "out",
            inputs=[InputSpec("tokens", (1, 4), "int64")],
            calibration=beyond,
            precisions=["float32", "int8"],
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("values", [[0.5, 1, 2, 3], [np.nan, 0, 0, 0], [1e30, 0, 0, 0]])
def test_numbers_that_are_not_whole(values: list[float]) -> None:
    with pytest.raises(DataError, match="has values that int64, the type of the input 'tokens'"):
        to_input(np.array([values]), TOKENS, None, "sample 3")


def test_whole_numbers_of_another_type() -> None:
    taken = to_input(np.array([[0.0, 1, 2, 9]], np.float32), TOKENS, None, "sample 3")
    assert (taken.dtype, taken.tolist()) == (np.int64, [[0, 1, 2, 9]])
    with pytest.raises(DataError, match="has values that uint8"):
        to_input(np.array([[-1]]), TensorInfo(name="x", shape=(1, 1), dtype="uint8"), None, "s")
