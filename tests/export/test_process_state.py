"""What belongs to the whole process is the caller's: an export leaves it as it was."""

from __future__ import annotations

import logging
import os
import random
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.bundle import Bundle, Format, Precision
from edgeconv.errors import EdgeconvError
from edgeconv.export import export
from edgeconv.models.randomize import randomize_

NOISY = ("", "edgeconv", "torch", "torch.onnx", "onnxscript", "onnx_ir", "onnxruntime")


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5)
        )
        self.frozen = nn.BatchNorm2d(4).eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.frozen(self.layers(x)).mean((2, 3))


def network(seed: int) -> nn.Module:
    return randomize_(Small(), seed, (3, 16, 16))


def exported(model: nn.Module, out: Path) -> Bundle:
    return export(
        model,
        out=out,
        input_size=(3, 16, 16),
        precisions=[Precision.FLOAT32, Precision.INT8],
        formats=[Format.ONNX],
        calibration="random",
        calibration_size=4,
    )


def state(model: nn.Module) -> dict[str, object]:
    return {
        "modes": [part.training for part in model.modules()],
        "gradients": [weight.requires_grad for weight in model.parameters()],
        "weights": [weight.detach().numpy().tobytes() for weight in model.state_dict().values()],
        "environment": dict(os.environ),
        "filters": list(warnings.filters),
        "levels": {name: logging.getLogger(name).level for name in NOISY},
        "handlers": {name: list(logging.getLogger(name).handlers) for name in NOISY},
        "disabled": {name: logging.getLogger(name).disabled for name in NOISY},
        "cudnn": (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark),
        "threads": torch.get_num_threads(),
        "grad": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "dtype": torch.get_default_dtype(),
        "random": (random.getstate(), torch.get_rng_state().numpy().tobytes()),
        "numpy": (np.random.get_state()[1].tobytes(), np.geterr()),  # type: ignore[union-attr]
        "folder": Path.cwd(),
        "hooks": (sys.excepthook, sys.displayhook, threading.excepthook),
        "stderr": os.fstat(2).st_ino,
    }


@pytest.fixture(scope="module", autouse=True)
def imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Libraries set up their loggers when they are first used; that is theirs, not an export's."""
    exported(network(0), tmp_path_factory.mktemp("first") / "out")


@pytest.mark.slow
def test_nothing_stays_changed(tmp_path: Path) -> None:
    model = network(1)
    model.train()
    model.get_submodule("frozen").eval()
    before = state(model)
    exported(model, tmp_path / "out")
    assert state(model) == before


def test_nothing_stays_changed_by_a_failure(tmp_path: Path) -> None:
    model = network(1).train()
    before = state(model)
    with pytest.raises(EdgeconvError):
        export(model, out=tmp_path / "out", input_size=(5, 16, 16), precisions=[Precision.FLOAT32])
    assert state(model) == before


@pytest.mark.slow
def test_threads_wait_for_each_other(tmp_path: Path) -> None:
    """Each export gives the file that it gives alone."""
    count = 4
    networks = [network(seed) for seed in range(count)]
    alone = [exported(each, tmp_path / f"alone{seed}") for seed, each in enumerate(networks)]
    before = state(networks[0])
    bundles: dict[int, Bundle] = {}

    def run(seed: int) -> None:
        bundles[seed] = exported(networks[seed], tmp_path / f"together{seed}")

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(count):
        found = [artifact.sha256 for artifact in bundles[seed].manifest.artifacts]
        assert found == [artifact.sha256 for artifact in alone[seed].manifest.artifacts]
    assert state(networks[0]) == before
