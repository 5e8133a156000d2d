"""Networks that draw random numbers cannot be compared with their files, and are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from edgeconv.errors import UnsupportedOperator
from edgeconv.export import export


class _Random(nn.Module):
    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.change(x)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x + torch.rand_like(x), r"rand_like \(RandomUniformLike\): it draws random"),
        (lambda x: nn.functional.dropout(x, 0.5, training=True), r"Dropout\): it drops elements"),
    ],
)
def test_a_module_is_refused_for_onnx_alone_too(
    change: Callable[[torch.Tensor], torch.Tensor], message: str, tmp_path: Path
) -> None:
    """Its file was called verified, because the network is as far from itself."""
    with pytest.raises(UnsupportedOperator, match=message):
        export(_Random(change), out=str(tmp_path / "o"), inputs=["x:1,64"], formats=["onnx"])
    assert not (tmp_path / "o").exists()


def test_a_file_is_refused_unless_it_is_not_verified(tmp_path: Path) -> None:
    text = (
        '<ir_version: 9, opset_import: ["" : 20]> g (float[1, 8] x) => (float[1, 8] y) '
        "{ r = RandomNormalLike (x) y = Add (x, r) }"
    )
    path = tmp_path / "random.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    with pytest.raises(UnsupportedOperator, match="RandomNormalLike") as refused:
        export(path, out=str(tmp_path / "o"), formats=["onnx"])
    assert "input" in str(refused.value.hint)
    export(path, out=str(tmp_path / "o"), formats=["onnx"], verify=False)
    assert (tmp_path / "o" / "random_float32.onnx").exists()
