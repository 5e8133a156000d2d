"""Every output keeps its own name and values, whatever else it is equal to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeconv.export import export
from support.runtimes import run_onnx, run_tflite

pytestmark = pytest.mark.slow

Outputs = Mapping[str, Tensor]


class Named(nn.Module):
    def __init__(self, outputs: Callable[[Tensor, Tensor], Outputs]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, 4)
        self.register_buffer("constant", torch.arange(4.0)[None] + 1)
        self.outputs = outputs

    def forward(self, x: Tensor) -> Outputs:
        return self.outputs(x, self.linear(x)) | {"constant": self.constant * 1}


def shared(x: Tensor, y: Tensor) -> Outputs:
    return {"a": y, "b": y}


CASES: dict[str, Callable[[Tensor, Tensor], Outputs]] = {
    "computed twice": lambda x, y: {"a": y.relu(), "b": y.relu()},
    "one tensor": shared,
    "a copy": lambda x, y: {"a": y, "b": y.clone(), "c": y + 0},
    "an input": lambda x, y: {"a": x, "b": y},
    "called like the input": lambda x, y: {"x": y, "b": x},
    "called like a weight": lambda x, y: {"linear.weight": y, "linear": y.relu()},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("precision", ["float32", "int8", "int16x8", "float16", "int8-dynamic"])
def test_names_and_values(case: str, precision: str, tmp_path: Path) -> None:
    network = Named(CASES[case]).eval()
    x = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
    bundle = export(
        network,
        input_size="1,4",
        out=tmp_path / "out",
        precisions=[precision],
        calibration=x if precision in ("int8", "int16x8") else None,
    )
    with torch.inference_mode():
        wanted = {k: v.numpy() for k, v in network(torch.from_numpy(x[:1])).items()}
    names = [f"{name}_1" if name == "x" else name for name in wanted]
    for artifact in bundle.manifest.artifacts:
        assert [info.name for info in artifact.inputs] == ["x"]
        assert [info.name for info in artifact.outputs] == names
        data = bundle.file(artifact).read_bytes()
        got = run_onnx(data, x[:1]) if artifact.format.value == "onnx" else run_tflite(data, x[:1])
        assert set(got) == set(names)  # a signature of LiteRT is in alphabetical order
        for name, expected in zip(names, wanted.values(), strict=True):
            array = got[name]
            # 8 bits of weights and activations; the other precisions are far below.
            limit = 0.05 if "int8" in precision else 0.01
            assert np.abs(array - expected).max() <= limit * np.abs(expected).max()


def test_quantized_outputs_share_their_scale(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
    network = Named(shared)
    network.forward = lambda x: shared(x, network.linear(x))  # type: ignore[method-assign]
    bundle = export(
        network,
        input_size="1,4",
        out=tmp_path / "out",
        precisions=["int8"],
        calibration=x,
        io="int8",
    )
    for artifact in bundle.manifest.artifacts:
        first, second = artifact.outputs
        assert (first.name, second.name) == ("a", "b")
        assert (first.dtype, first.scale, first.zero_point) == (
            second.dtype,
            second.scale,
            second.zero_point,
        )
