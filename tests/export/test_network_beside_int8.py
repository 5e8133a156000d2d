"""The network itself runs while int8 is calibrated, where another thread computes the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.errors import DataError
from edgeconv.export import Format, Precision, export
from edgeconv.export.pipeline import _runs_in_other_threads
from edgeconv.export.verify.beside import Beside


class _Noting(nn.Module):
    """Notes the threads that run it or a copy, and refuses samples above a limit."""

    def __init__(self, threads: Callable[[str], None]) -> None:
        super().__init__()
        self.conv, self.note = nn.Conv2d(3, 4, 3), threads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.note(threading.current_thread().name)
        if not torch.compiler.is_exporting() and x.min() > 90:
            raise ValueError("too large")
        y: torch.Tensor = self.conv(x)
        return y.mean((2, 3))


def _export(network: nn.Module, samples: list[np.ndarray], out: Path) -> None:
    export(
        network,
        out=out,
        input_size=(8, 8),
        formats=[Format.ONNX],
        precisions=[Precision.FLOAT32, Precision.INT8],
        calibration=samples,
    )


def _samples() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((1, 3, 8, 8)).astype(np.float32) for _ in range(4)]


def test_another_thread_runs_the_network(tmp_path: Path) -> None:
    seen: set[str] = set()

    def note(name: str) -> None:  # a function is not copied with the network
        seen.add(name)

    _export(_Noting(note), _samples(), tmp_path / "bundle")
    assert any(name.startswith("beside") for name in seen)


def test_its_errors_are_those_of_the_export(tmp_path: Path) -> None:
    samples = [sample + 100 for sample in _samples()]
    with pytest.raises(DataError, match="too large"):
        _export(_Noting(lambda _: None), samples, tmp_path / "bundle")


def test_it_is_the_callers_thread_where_that_has_settings_of_its_own() -> None:
    assert _runs_in_other_threads()
    with torch.autocast("cpu"):
        assert not _runs_in_other_threads()
    with torch.device("meta"):
        assert not _runs_in_other_threads()
    assert _runs_in_other_threads()


class _Held:
    """Lets a thread run so many times, and then only once the test says so."""

    def __init__(self, free: int) -> None:
        self.free, self.runs = free, 0
        self.reached, self.released = threading.Event(), threading.Event()

    def note(self, name: str) -> None:
        if name.startswith("beside"):
            self.runs += 1
            if self.runs > self.free:
                self.reached.set()
                assert self.released.wait(60)


# It runs two samples and two probes, and all of them once more in float64.
@pytest.mark.parametrize("free", [1, 5])
def test_an_interruption_waits_for_no_more_than_the_running_sample(
    free: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    held = _Held(free)

    def interrupted(*_: object) -> NoReturn:
        assert held.reached.wait(60)
        raise KeyboardInterrupt

    stop = Beside.__exit__

    def stopping(self: Beside, *error: Any) -> None:
        # The running sample goes on once the others must not.
        threading.Timer(0, lambda: self._stopped.wait(60) and held.released.set()).start()
        stop(self, *error)

    monkeypatch.setattr("edgeconv.export.pipeline.Writer.quantize", interrupted)
    monkeypatch.setattr(Beside, "__exit__", stopping)
    with pytest.raises(KeyboardInterrupt):
        _export(_Noting(lambda name: held.note(name)), _samples(), tmp_path / "bundle")
    assert held.runs == free + 1
    assert not any(thread.name.startswith("beside") for thread in threading.enumerate())


def test_a_network_that_takes_longer_than_its_quantization(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The rounding of float32 is measured in its thread after it, which has to be open still."""
    held = _Held(1)
    waiting = Beside.wait

    def released(self: Beside) -> None:
        held.released.set()
        waiting(self)

    monkeypatch.setattr(Beside, "wait", released)
    _export(_Noting(lambda name: held.note(name)), _samples(), tmp_path / "bundle")
    assert held.runs > 5
