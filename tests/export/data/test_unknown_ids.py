"""Ids of tokens beyond the table of an embedding: the message names input, sample and file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.errors import DataError
from edgeconv.export import export
from edgeconv.export.tasks.evaluate import evaluate


class Text(nn.Module):
    """A classifier of eight ids of a vocabulary of 50."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 8)
        self.last = nn.Linear(8, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        mean: torch.Tensor = self.words(ids).mean(1)
        result: torch.Tensor = self.last(mean)
        return result


def ids(changed: int | None = None) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    array = np.arange(40 * 8).reshape(40, 8) % 50
    if changed is not None:
        array[7, 3] = changed
    return array


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return Text()


def test_calibration(network: nn.Module, tmp_path: Path) -> None:
    np.savez(tmp_path / "words.npz", ids=ids(77))
    with pytest.raises(
        DataError,
        match=r"sample 7 of .*words\.npz: the input 'ids' holds 77, and \S*words\S* has 50 rows",
    ):
        export(
            network,
            inputs=["ids:1,8:int64"],
            calibration=tmp_path / "words.npz",
            precisions=["int8"],
            out=tmp_path / "out",
        )


@pytest.mark.parametrize("wrong", [77, -1])
def test_an_example(network: nn.Module, wrong: int, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"Text fails: the input 'ids' holds {wrong}, and words "):
        export(network, example=torch.from_numpy(ids(wrong)[7:8]), out=tmp_path / "out")


def test_evaluation(network: nn.Module, tmp_path: Path) -> None:
    bundle = export(
        network, inputs=["ids:1,8:int64"], formats=["onnx"], name="net", out=tmp_path / "out"
    )
    data = (ids(77), np.zeros(40, np.int64))
    with pytest.raises(DataError, match=r"the input 'ids' holds 77, and .* has 50 rows, from 0 to"):
        evaluate(bundle, data)
