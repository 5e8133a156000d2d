"""What belongs to the whole process is the caller's: an export leaves it as it was."""

from __future__ import annotations

import gc
import locale
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from torch import nn

from edgeconv.bundle import Bundle, Format, Precision
from edgeconv.errors import CaptureError, EdgeconvError
from edgeconv.evaluation import Evaluation
from edgeconv.export import export
from edgeconv.export.quiet import quiet_native, quiet_python
from edgeconv.export.tasks.evaluate import evaluate
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


def exported(model: nn.Module, out: Path, **options: Any) -> Bundle:
    return export(
        model,
        out=out,
        **options,
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
        "path": list(sys.path),
        "hooks": (sys.excepthook, sys.displayhook, threading.excepthook),
        "stderr": os.fstat(2).st_ino,
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "collector": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "locale": locale.setlocale(locale.LC_ALL),
        "limits": (sys.getrecursionlimit(), resource.getrlimit(resource.RLIMIT_AS)),
        "cores": os.sched_getaffinity(0),
        "warning": (warnings.showwarning, logging.root.manager.disable),
        "torch": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_anomaly_enabled(),
            torch.get_float32_matmul_precision(),
            torch.backends.mkldnn.enabled,
            torch.backends.cudnn.deterministic,
            torch.get_default_device(),
            torch.get_num_interop_threads(),
            torch.jit.is_tracing(),
        ),
        "pictures": (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES),
        "temporary": tempfile.tempdir,
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


def test_a_file_of_the_users_leaves_the_path_as_it_was(tmp_path: Path) -> None:
    """Each file imports what lies beside it, though another one has a namesake in its folder."""
    before, widths = list(sys.path), {}
    for width in (3, 5, 3):
        folder = tmp_path / str(width)
        folder.mkdir(exist_ok=True)
        (folder / "layers_beside.py").write_text(f"WIDTH = {width}\n")
        (folder / "net.py").write_text(
            "from torch import nn\nfrom layers_beside import WIDTH\n"
            "def make(): return nn.Conv2d(1, WIDTH, 1)\n"
        )
        out = tmp_path / f"out{width}"
        bundle = export(
            f"{folder}/net.py:make", out=out, input_size=(1, 4, 4), formats=["onnx"], force=True
        )
        widths[width] = bundle.manifest.outputs[0].shape[1]
    assert widths == {3: 3, 5: 5}
    assert sys.path == before


def test_a_file_that_ends_the_process_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("raise SystemExit(0)\n")
    with pytest.raises(CaptureError, match="raised SystemExit"):
        export(f"{tmp_path}/net.py:make", out=tmp_path / "out", input_size=(1, 4, 4))


@pytest.mark.slow
def test_exports_with_a_budget_wait_for_each_other(tmp_path: Path) -> None:
    """A thread that trains meanwhile always makes tensors of float32."""
    networks = [network(seed).train() for seed in range(2)]
    before = state(networks[0])
    failed: list[BaseException] = []
    types: set[torch.dtype] = set()
    ended = threading.Event()

    def run(seed: int) -> None:
        try:
            exported(networks[seed], tmp_path / str(seed), min_sqnr=0.0)
        except BaseException as error:
            failed.append(error)

    def train() -> None:
        while not ended.is_set():
            types.add(torch.zeros(1).dtype)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(2)]
    trains = threading.Thread(target=train)
    trains.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended.set()
    trains.join()
    assert failed == []
    assert types == {torch.float32}
    assert state(networks[0]) == before


def test_the_silence_of_threads_ends_with_the_last(capfd: pytest.CaptureFixture[str]) -> None:
    """Where each restored what it found, the second restored the silence of the first."""
    before = state(nn.Identity())
    for quiet in (quiet_native, quiet_python):
        first, second = quiet(), quiet()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        os.write(2, b"within")
        second.__exit__(None, None, None)
    os.write(2, b"after")
    assert capfd.readouterr().err == "withinafter"
    assert state(nn.Identity()) == before


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


@pytest.mark.slow
def test_evaluations_in_threads(tmp_path: Path) -> None:
    """Each says what it says alone, and one that fails changes nothing either."""
    bundle = exported(network(0), tmp_path / "out")
    for index in range(12):
        place = tmp_path / "images" / "abcd"[index % 4]
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 16 + index), (20 * index, 9, 200)).save(place / f"{index}.png")
    (tmp_path / "images" / "a" / "cut.png").write_bytes(b"cut")
    alone = evaluate(bundle, tmp_path / "images")
    before = state(nn.Identity())
    found: list[Evaluation] = []
    failed: list[BaseException] = []

    def run(data: Path) -> None:
        try:
            found.append(evaluate(bundle, data))
        except EdgeconvError as error:
            failed.append(error)

    places = [tmp_path / "images", tmp_path / "none", tmp_path / "images", tmp_path / "out"]
    threads = [threading.Thread(target=run, args=(data,)) for data in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) == 2
    assert [each.results for each in found] == [alone.results] * 2
    assert state(nn.Identity()) == before


_FIRST_EXPORT = """
import os, sys
from edgeconv.export import export
from edgeconv.models import create_model
before = dict(os.environ)
network = create_model("resnet8")
export(network, out=sys.argv[1], input_size=32, precisions=["float32"], formats=["onnx"])
changed = {name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)}
sys.exit(f"changed: {changed}" if changed else 0)
"""


@pytest.mark.slow
def test_the_first_export_of_a_process_leaves_the_environment(tmp_path: Path) -> None:
    """PyTorch sets a variable when it imports its compiler, which happens once."""
    command = [sys.executable, "-c", _FIRST_EXPORT, str(tmp_path / "out")]
    own = {name: text for name, text in os.environ.items() if not name.startswith("TORCH")}
    done = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
