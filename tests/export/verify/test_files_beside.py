"""Files run on ONNX Runtime in a thread beside those on LiteRT."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.bundle import Bundle, Format
from edgeconv.errors import EdgeconvError
from edgeconv.export import Precision, export
from edgeconv.export.data.samples import Sample
from edgeconv.export.runtimes import OnnxRunner, Runner, open_runner
from edgeconv.export.verify import parity
from edgeconv.export.verify.parity import Verified, verify_artifacts
from edgeconv.export.verify.reference import load_reference


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    return export(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)),
        out=tmp_path_factory.mktemp("beside") / "bundle",
        input_size=(8, 8),
        formats=[Format.ONNX, Format.TFLITE],
        precisions=[Precision.FLOAT32, Precision.INT8],
        calibration=[rng.standard_normal((1, 3, 8, 8)).astype(np.float32) for _ in range(6)],
    )


def _verified(bundle: Bundle) -> Verified:
    return verify_artifacts(bundle.path, bundle.manifest.artifacts, load_reference(bundle))


class _Opener:
    """Opens files in the place of ``open_runner``, and notes in which threads.

    Args:
        onnx: What is done to the runner of an ONNX file.
        tflite: The same of a TFLite file.
    """

    def __init__(
        self, onnx: Any = lambda runner: runner, tflite: Any = lambda runner: runner
    ) -> None:
        self.threads: dict[Format, set[str]] = {format: set() for format in Format}
        self._wrap = {Format.ONNX: onnx, Format.TFLITE: tflite}

    def __call__(self, path: Path, format: Format, *rest: Any) -> Runner:
        self.threads[format].add(threading.current_thread().name)
        runner: Runner = self._wrap[format](open_runner(path, format, *rest))
        return runner


def test_the_figures_are_those_of_one_file_after_the_other(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    opener = _Opener()
    monkeypatch.setattr(parity, "open_runner", opener)
    found = _verified(bundle)
    assert all(name.startswith("beside") for name in opener.threads[Format.ONNX])
    assert opener.threads[Format.TFLITE] == {threading.current_thread().name}
    artifacts = bundle.manifest.artifacts
    assert list(found.figures) == [artifact.path for artifact in artifacts]

    network = load_reference(bundle).network

    def here(artifact: Any, samples: Sequence[Sample]) -> tuple[str, list[list[np.ndarray]]]:
        runner = open_runner(
            bundle.path / artifact.path,
            artifact.format,
            artifact.inputs,
            artifact.outputs,
            network,
        )
        return runner.name, [runner.run(sample) for sample in samples]

    alone = verify_artifacts(bundle.path, artifacts, load_reference(bundle), here)
    assert found == alone


def test_a_refusal_in_the_thread_is_that_files(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(runner: Runner) -> Runner:
        raise EdgeconvError("refused")

    monkeypatch.setattr(parity, "open_runner", _Opener(onnx=refused))
    found = _verified(bundle)
    onnx = [each.path for each in bundle.manifest.artifacts if each.format is Format.ONNX]
    assert list(found.refused) == onnx
    assert all(figures.passed for figures in found.figures.values())
    assert len(found.figures) == 2


def test_an_unexpected_error_in_the_thread_is_raised(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(runner: Runner) -> Runner:
        raise MemoryError("no room")

    monkeypatch.setattr(parity, "open_runner", _Opener(onnx=fails))
    with pytest.raises(MemoryError, match="no room"):
        _verified(bundle)


def test_an_interruption_waits_for_no_more_than_the_running_sample(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, interrupted = threading.Event(), threading.Event()
    runs = []

    class Held:
        name = "held"

        def __init__(self, runner: OnnxRunner) -> None:
            self._runner = runner

        def run(self, inputs: Sample) -> list[np.ndarray]:
            runs.append(inputs)
            running.set()
            assert interrupted.wait(60)
            return self._runner.run(inputs)

    def interrupt(runner: Runner) -> Runner:
        assert running.wait(60)
        raise KeyboardInterrupt

    stop = parity.Beside.__exit__

    def stopping(self: parity.Beside, *error: Any) -> None:
        # The running sample goes on once the others must not.
        threading.Timer(0, lambda: self._stopped.wait(60) and interrupted.set()).start()
        stop(self, *error)

    monkeypatch.setattr(parity.Beside, "__exit__", stopping)
    monkeypatch.setattr(parity, "open_runner", _Opener(onnx=Held, tflite=interrupt))
    with pytest.raises(KeyboardInterrupt):
        _verified(bundle)
    assert len(runs) == 1
