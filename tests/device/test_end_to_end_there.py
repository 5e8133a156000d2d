"""``bench --end-to-end`` and ``--together`` on a board behind a real SSH server."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edgeconv.bench.end_to_end import NAMES, measure_end_to_end
from edgeconv.bench.together import measure_together
from edgeconv.device import open_device
from edgeconv.export import export
from support.scripted_device import QUICK
from support.ssh_server import Server
from support.tiny_models import write_onnx

pytestmark = [pytest.mark.slow, pytest.mark.device]

TWICE = QUICK.model_copy(update={"repetitions": 2})
ONCE = QUICK.model_copy(update={"repetitions": 1})


def test_frames_over_ssh(server: Server, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 6 * 6, 3))
    asked = {"input_size": (3, 8, 8), "precisions": ["float32"], "formats": ["tflite"]}
    bundle = export(network, out=tmp_path / "out", **asked)  # type: ignore[arg-type]
    file = bundle.file(bundle.manifest.artifacts[0])
    result = measure_end_to_end([file], TWICE, (64, 48), open_device(server.name))
    (model,) = result.models
    assert len(model.processes) == 2
    assert tuple(model.steps_ns) == NAMES
    assert min(model.steps_ns.values()) > 0


def test_together_over_ssh(server: Server, tmp_path: Path) -> None:
    files = [write_onnx(tmp_path / f"{name}.onnx") for name in "ab"]
    result = measure_together(files, ONCE, open_device(server.name))
    assert [len(model.together) for model in result.models] == [1, 1]
